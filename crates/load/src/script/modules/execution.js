import { call } from 'springtide:runtime';

function view(part, names, more = {}) {
  const object = {};
  for (const name of names) {
    Object.defineProperty(object, name, { enumerable: true, get: () => call('execution', `${part}.${name}`) });
  }
  return Object.defineProperties(object, more);
}

const tags = (scope) => new Proxy({}, {
  get: (_, name) => (typeof name === 'string' ? call('tags.get', name) : undefined),
  set: (_, name, value) => { call('tags.set', String(name), value); return true; },
  deleteProperty: (_, name) => { call('tags.delete', String(name)); return true; },
  has: (_, name) => call('tags.get', String(name)) !== undefined,
  ownKeys: () => Object.keys(call('tags.all')),
  getOwnPropertyDescriptor: (_, name) => {
    const value = call('tags.get', String(name));
    return value === undefined ? undefined : { value, enumerable: true, configurable: true, writable: true };
  },
});

const vuTags = tags();
const vuMetadata = new Proxy({}, {
  get: (_, name) => (typeof name === 'string' ? metadata.get(name) : undefined),
  set: (_, name, value) => {
    if (!['string', 'number', 'boolean'].includes(typeof value)) throw new TypeError(`only String, Boolean and Number types are accepted as a metadata value, and ${JSON.stringify(String(name))} is set to something else`);
    if (!warned) call('warn', 'exec.vu.metrics.metadata is kept for the script, and no output writes it');
    warned = true;
    metadata.set(String(name), String(value));
    return true;
  },
  deleteProperty: (_, name) => { metadata.delete(String(name)); return true; },
  ownKeys: () => [...metadata.keys()],
  getOwnPropertyDescriptor: (_, name) => (metadata.has(name) ? { value: metadata.get(name), enumerable: true, configurable: true, writable: true } : undefined),
});
const metadata = new Map();
let warned = false;

export const vu = view('vu', ['idInInstance', 'idInTest', 'iterationInInstance', 'iterationInScenario'], {
  tags: { enumerable: true, get: () => vuTags, set: replaceTags },
  metrics: { enumerable: true, value: Object.defineProperties({}, {
    tags: { enumerable: true, get: () => vuTags, set: replaceTags },
    metadata: { enumerable: true, get: () => vuMetadata },
  }) },
});
function replaceTags(values) {
  for (const name of Object.keys(values)) vuTags[name] = values[name];
}

export const scenario = view('scenario', ['name', 'executor', 'startTime', 'progress', 'iterationInInstance', 'iterationInTest']);
export const instance = view('instance', ['iterationsInterrupted', 'iterationsCompleted', 'vusActive', 'vusInitialized', 'currentTestRunDuration']);

let consolidated;
export const test = Object.defineProperties({}, {
  abort: { enumerable: true, value: (reason) => call('abort', reason === undefined ? 'test aborted' : `test aborted: ${reason}`) },
  fail: { enumerable: true, value: (reason) => call('test.fail', reason === undefined ? '' : String(reason)) },
  options: { enumerable: true, get: () => (consolidated ??= Object.freeze(JSON.parse(call('execution', 'test.options')))) },
});

export default { vu, scenario, instance, test };
