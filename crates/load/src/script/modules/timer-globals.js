// The globals `setTimeout`, `setInterval`, `clearTimeout` and `clearInterval`.
import { start, forget } from 'springtide:later';

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
