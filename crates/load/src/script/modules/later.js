// Things that finish later: timers, requests that nobody waits for, sockets.
import { call } from 'springtide:runtime';

const waiting = { __proto__: null };
let next = 1;

/** Starts something that finishes later; `done(kind, ...values)` is called for each of its events. */
export function start(done, operation, ...args) {
  const id = next++;
  waiting[id] = done;
  try {
    call(operation, id, ...args);
  } catch (error) {
    delete waiting[id];
    throw error;
  }
  return id;
}

/** Called by the host for each event. `last`: nothing more will come. */
call('dispatch', (id, last, ...values) => {
  const done = waiting[id];
  if (last) delete waiting[id];
  if (done !== undefined) done(...values);
});

/** Forgets what was started. */
export function forget(id) {
  if (id in waiting) {
    delete waiting[id];
    call('cancel', id);
  }
}
