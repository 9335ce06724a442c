// The last episodes of the dataset folder, and taking back the last edit of them.

import { get, toast } from "/api.js";
import { $, make, text } from "/dom.js";
import { close, onEdit, play, playing } from "/player.js";
import { t, tell } from "/words.js";

const PAGE = 8;

let cards = [];
let undo = null;
let changed = () => {};

// Calls `callback()` after every edit.
export function onChange(callback) { changed = callback; }

export async function loadEpisodes() {
  const page = await get(`/api/episodes?limit=${Math.min(50, Math.max(PAGE, cards.length))}`);
  if (!page.ok) {
    cards = [];
    tell($("noepisodes"), page.words);
  } else {
    cards = page.episodes;
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
  $("noepisodes").hidden = cards.length > 0;
  $("episodes").replaceChildren(...cards.map((card) => make("li", {}, row(card))));
}

function row(card) {
  const wrong = card.problem ? 1 : card.findings.length;
  const button = make("button", {
    type: "button", className: "episode", dataset: { episode: card.episode_id }, disabled: Boolean(card.problem),
  });
  if (!card.problem) {
    button.append(make("img", {
      src: `/api/episodes/${card.episode_id}/thumbnail?v=${card.version}`, alt: "", width: 64, height: 64, loading: "lazy",
    }));
  }
  const facts = card.problem ? card.problem : [
    card.episode_id, t("episodes.steps", { steps: card.steps }), ago(card.created_at),
    ...(card.dropped_ticks ? [t("episodes.dropped", { ticks: card.dropped_ticks })] : []),
  ].join(" · ");
  button.append(make("span", { className: "what" },
    make("b", { translate: false }, card.language ?? card.episode_id), make("small", { translate: false }, facts),
    ...(wrong && !card.problem ? [make("small", { className: "found", translate: false }, card.findings[0].message)] : [])));
  if (card.outcome) button.append(make("span", { className: `outcome ${card.outcome}` }, t(`outcome.${card.outcome}`)));
  button.addEventListener("click", () => play(card));
  return button;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
function ago(stamp) {
  const seconds = (Date.parse(stamp) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, each]) => -seconds >= each) ?? ["second", 1];
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
  return Number.isFinite(seconds) ? format.format(Math.round(seconds / size), unit) : "";
}

onEdit((last) => {
  undo = last.run ? last : null;
  $("undone").hidden = !undo;
  if (undo) tell($("undowords"), undo.words);
  loadEpisodes();
  changed();
});

$("undo").addEventListener("click", async () => {
  const last = undo;
  undo = null;
  $("undone").hidden = true;
  const reply = await last.run();
  toast(reply.ok ? { key: "episodes.undone" } : reply.words, reply.ok);
  const open = playing();
  close();
  await loadEpisodes();
  const card = cards.find((each) => each.episode_id === open);
  if (reply.ok && card) play(card);
  changed();
});
$("more").addEventListener("click", loadMore);
document.addEventListener("language", show);
