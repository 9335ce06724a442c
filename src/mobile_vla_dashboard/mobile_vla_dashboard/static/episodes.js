// The last episodes of the dataset folder, and taking back the last edit of them.

import { get, toast } from "/api.js";
import { $, make, text } from "/dom.js";
import { follow, onEdit, play } from "/player.js";
import { inTurn } from "/turns.js";
import { said, t, tell } from "/words.js";

const PAGE = 8;

let cards = [];
let undo = null;
let asked = 0;

export async function loadEpisodes() {
  const mine = asked += 1;
  const page = await get(`/api/episodes?limit=${Math.min(50, Math.max(PAGE, cards.length))}`);
  if (mine !== asked) return;
  if (!page.ok) {
    cards = [];
    tell($("noepisodes"), page.words);
  } else {
    cards = page.episodes;
    follow(cards, page.more);
    tell($("noepisodes"), { key: "episodes.none" });
    text("dataset", page.dataset);
    tell($("episodecount"), { key: "episodes.count", count: page.total });
  }
  $("more").hidden = !page.more;
  show();
}

async function loadMore() {
  const page = await get(`/api/episodes?limit=${PAGE}&before=${cards.at(-1).episode_id}`);
  if (!page.ok) return toast(page.words, false);
  cards.push(...page.episodes);
  $("more").hidden = !page.more;
  show();
}

function show() {
  const focused = document.activeElement?.dataset.episode;
  $("noepisodes").hidden = cards.length > 0;
  $("episodes").replaceChildren(...cards.map((card) => make("li", {}, row(card))));
  if (focused) $("episodes").querySelector(`[data-episode="${focused}"]`)?.focus({ preventScroll: true });
}

function row(card) {
  const button = make("button", {
    type: "button", className: "episode", dataset: { episode: card.episode_id }, disabled: Boolean(card.problem),
  });
  if (!card.problem) button.append(thumbnail(card));
  const facts = card.problem ? said(card.problem) : [
    card.episode_id, t("episodes.steps", { steps: card.steps }), ago(card.created_at),
    ...(card.dropped_ticks ? [t("episodes.dropped", { ticks: card.dropped_ticks })] : []),
  ].join(" · ");
  button.append(make("span", { className: "what" },
    make("b", { translate: false }, card.language ?? card.episode_id), make("small", { translate: false }, facts),
    ...(card.findings.length ? [make("small", { className: "found", translate: false }, found(card.findings))] : [])));
  if (card.outcome) button.append(make("span", { className: `outcome ${card.outcome}` }, t(`outcome.${card.outcome}`)));
  button.addEventListener("click", () => play(card));
  return button;
}

// The first finding; opening the episode shows them all.
function found([{ message }, ...others]) {
  return others.length ? t("episodes.findings", { message, others: others.length }) : message;
}

function thumbnail({ episode_id: id, version }) {
  const image = make("img", { alt: "", width: 64, height: 64 });
  inTurn(() => new Promise((resolve) => {
    image.onload = image.onerror = resolve;
    image.src = `/api/episodes/${id}/thumbnail?v=${version}`;
  }));
  return image;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
function ago(stamp) {
  const seconds = (Date.parse(stamp) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, each]) => -seconds >= each) ?? ["second", 1];
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
  return Number.isFinite(seconds) ? format.format(Math.round(seconds / size), unit) : "";
}

// The list itself is loaded again when the state says that an episode was edited, in whichever page.
function offer(last) {
  undo = last;
  $("undone").hidden = !undo;
  if (undo) tell($("undowords"), undo.words);
}

onEdit(offer);

$("undo").addEventListener("click", async () => {
  const last = undo;
  const reply = await last.run();
  toast(reply.ok ? { key: "episodes.undone" } : reply.words, reply.ok);
  // It is kept until it succeeded: without it, a terminal is needed.
  if (reply.ok && undo === last) offer(null);
});
$("more").addEventListener("click", loadMore);
document.addEventListener("language", () => { show(); offer(undo); });
