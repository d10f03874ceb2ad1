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
