// Requests that may have to wait for the robot's disk: a few at a time. A browser opens six connections to a host; the
// rest of them is for STOP.

const AT_ONCE = 3;

const waiting = [];
let running = 0;

// Runs `ask()` when its turn comes and resolves to what it returns; `first`: before everything that waits.
export function inTurn(ask, first = false) {
  return new Promise((resolve, reject) => {
    waiting[first ? "unshift" : "push"](() => ask().then(resolve, reject));
    next();
  });
}

function next() {
  if (running >= AT_ONCE || !waiting.length) return;
  running += 1;
  waiting.shift()().finally(() => { running -= 1; next(); });
}
