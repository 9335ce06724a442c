// What this browser remembers of the page. A browser that forbids it forgets, and everything else works.

export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Forgotten at the next visit.
  }
}
