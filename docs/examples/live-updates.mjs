// Follows GET /api/usage/events in a browser or in Node, without dependencies. See docs/live-updates.md.
const SILENCE = 45_000; // three signs of life missed

/**
 * @param url    of the stream
 * @param token  returns a token, or a promise of one; asked before each connection
 * @param on     what to call with the data of each type of event; `error`, if there, gets what went wrong
 * @returns a function that ends it
 */
export function follow({ url, token, on }) {
  const stopped = new AbortController();
  let lastEventId = '';
  let wait = 1000;
  (async () => {
    while (!stopped.signal.aborted) {
      try {
        await read();
      } catch (error) {
        if (!stopped.signal.aborted) on.error?.(error);
      }
      if (!stopped.signal.aborted) await pause(wait, stopped.signal);
    }
  })();
  return () => stopped.abort();

  async function read() {
    const silent = new AbortController();
    let timer;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => silent.abort(), SILENCE); };
    try {
      heard();
      const response = await fetch(url, {
        headers: { Authorization: `Bearer ${await token()}`, ...(lastEventId && { 'Last-Event-ID': lastEventId }) },
        signal: AbortSignal.any([stopped.signal, silent.signal]),
      });
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
      let rest = '';
      const decoder = new TextDecoder();
      for (const reader = response.body.getReader(); ;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n');
        rest = blocks.pop();
        for (const block of blocks) dispatch(block);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  function dispatch(block) {
    const field = Object.fromEntries(block.split('\n').map(line => line.split(/: ?(.*)/s, 2)));
    if (field.retry) wait = Number(field.retry);
    if (!field.event) return;
    on[field.event]?.(JSON.parse(field.data));
    // Afterwards, so that what could not be handled comes again.
    if (field.id) lastEventId = field.id;
  }
}

function pause(milliseconds, signal) {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
