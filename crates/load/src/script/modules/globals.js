// Globals that few scripts name.
import { call } from 'springtide:runtime';

globalThis.queueMicrotask ??= (callback) => { Promise.resolve().then(callback); };
globalThis.global = globalThis;

globalThis.open = (path, mode) => {
  const bytes = call('open', String(path), mode === 'b');
  return bytes;
};

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
