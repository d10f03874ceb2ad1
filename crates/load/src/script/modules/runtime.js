// What every other module stands on: the way to the host, and things that finish later.
const host = globalThis.__springtide;
delete globalThis.__springtide;

// Plain objects, not maps: every user has them, and few scripts need the code for maps.
const later = { __proto__: null };
let next = 1;

/** Starts something that finishes later; `done(kind, ...values)` is called for each of its events. */
export function start(done, operation, ...args) {
  const id = next++;
  later[id] = done;
  try {
    host.call(operation, id, ...args);
  } catch (error) {
    delete later[id];
    throw error;
  }
  return id;
}

/** Called by the host for each event. `last`: nothing more will come. */
host.call('dispatch', (id, last, ...values) => {
  const done = later[id];
  if (last) delete later[id];
  if (done !== undefined) done(...values);
});

/** Forgets what was started. */
export function forget(id) {
  if (id in later) {
    delete later[id];
    host.call('cancel', id);
  }
}

export const call = host.call;
export const request = host.request;
export const sleepFor = host.sleep;
export const addCheck = host.check;
export const addSample = host.add;

function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  if (typeof value === 'function' || typeof value === 'symbol' || value === undefined) return String(value);
  try {
    const text = JSON.stringify(value);
    return text === undefined ? String(value) : text;
  } catch {
    return String(value);
  }
}

const log = (level) => (...values) => call('log', level, values.map(shown).join(' '));
globalThis.console = {
  log: log('info'), info: log('info'), debug: log('debug'), warn: log('warning'), error: log('error'), trace: log('debug'),
};

const timers = { __proto__: null };
let timer = 1;
function startTimer(callback, delay, repeat, args) {
  if (typeof callback !== 'function') throw new TypeError(`${repeat ? 'setInterval' : 'setTimeout'} requires a function as its first argument`);
  const wait = Math.max(repeat ? 1 : 0, Number(delay) || 0);
  const number = timer++;
  const arm = () => {
    timers[number] = start(() => {
      if (repeat) arm(); else delete timers[number];
      callback(...args);
    }, 'timer', wait);
  };
  arm();
  return number;
}
function stopTimer(number) {
  const id = timers[number];
  if (id === undefined) return;
  delete timers[number];
  forget(id);
}
globalThis.setTimeout = (callback, delay, ...args) => startTimer(callback, delay, false, args);
globalThis.setInterval = (callback, delay, ...args) => startTimer(callback, delay, true, args);
globalThis.clearTimeout = stopTimer;
globalThis.clearInterval = stopTimer;
globalThis.queueMicrotask ??= (callback) => { Promise.resolve().then(callback); };
globalThis.global = globalThis;

globalThis.open = (path, mode) => {
  const bytes = call('open', String(path), mode === 'b');
  return bytes;
};

globalThis.require = (name) => call('load', String(name));

for (const [name, module] of [['crypto', 'k6/experimental/webcrypto'], ['TextEncoder', 'springtide:text'], ['TextDecoder', 'springtide:text']]) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get() {
      const value = call('load', module)[name];
      Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
      return value;
    },
    set(value) { Object.defineProperty(globalThis, name, { value, writable: true, configurable: true }); },
  });
}
