// `require`, and what CommonJS files leave in their `module.exports`.
import { call } from 'springtide:runtime';

// By the file's URL, from before its code runs: files that require each other see what is there so far.
const modules = Object.create(null);

/** Runs a file's code, and gives its module. */
export const run = (url, body) => {
  const module = { exports: {} };
  modules[url] = module;
  body.call(module.exports, module, module.exports);
  return module;
};

globalThis.require = (name) => {
  const url = call('resolve', String(name));
  const loaded = url in modules ? undefined : call('load', url);
  return url in modules ? modules[url].exports : loaded;
};
