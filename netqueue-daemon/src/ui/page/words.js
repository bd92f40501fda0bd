// What each cause means, from the daemon's own glossary, and how it is drawn: colour and pattern together.

const table = new Map();

/** Colour and pattern of each cause, so that neither alone carries it. */
const LOOKS = {
  "drop accept_queue_full syn": ["c1", 0],
  "drop accept_queue_full ack": ["c2", 1],
  "drop accept_queue_full cookie_ack": ["c3", 2],
  "drop syn_queue_full syn": ["c4", 0],
  "drop syn_backlog_reserve syn": ["c5", 1],
  "drop other syn": ["c7", 0],
  "drop other ack": ["c7", 1],
  "drop other cookie_ack": ["c7", 2],
  "reset overflow_abort": ["c1", 0],
  "reset handshake_aborted": ["c5", 0],
  "reset unknown_connection": ["c7", 0],
  "reset expired_handshake": ["c2", 1],
  "reset no_listener": ["c4", 0],
  "reset no_connection": ["c2", 2],
  "reset reset_again": ["c6", 1],
  "reset after_close": ["c3", 2],
  "reset peer_closing": ["c4", 1],
  "reset close_unread_data": ["c6", 0],
  "reset linger_zero": ["c5", 1],
  "reset listener_closed": ["c1", 1],
  "reset keepalive_timeout": ["c4", 2],
  "reset out_of_memory": ["c3", 0],
  "reset other": ["c7", 1],
};

const name = (kind, cause, stage) => (stage ? `${kind} ${cause} ${stage}` : `${kind} ${cause}`);

/** Fetches the glossary once; without it causes keep their own names. */
export async function loadWords() {
  try {
    const answer = await fetch("ui/words.json");
    for (const word of await answer.json()) table.set(name(word.kind, word.cause, word.stage), word);
  } catch {
    // The names themselves are readable.
  }
}

/** Title, meaning and where to look, for a cause of a drop or a reset. */
export function words(kind, cause, stage) {
  const known = table.get(name(kind, cause, stage));
  return known ?? { title: `${cause}${stage ? ` at ${stage}` : ""}`.replaceAll("_", " "), meaning: "", look: "" };
}

/** `[colour, pattern]` of a cause. */
export const look = (kind, cause, stage) => LOOKS[name(kind, cause, stage)] ?? ["c7", 0];
