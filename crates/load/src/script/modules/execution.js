import { call } from 'springtide:runtime';

function view(part, names, more = {}) {
  const object = {};
  for (const name of names) {
    Object.defineProperty(object, name, { enumerable: true, get: () => call('execution', `${part}.${name}`) });
  }
  return Object.defineProperties(object, more);
}

/** The tags or the metadata of samples, as an object. */
const labels = (kind) => new Proxy({}, {
  get: (_, name) => (typeof name === 'string' ? call(`${kind}.get`, name) : undefined),
  set: (_, name, value) => { call(`${kind}.set`, String(name), value); return true; },
  deleteProperty: (_, name) => { call(`${kind}.delete`, String(name)); return true; },
  has: (_, name) => call(`${kind}.get`, String(name)) !== undefined,
  ownKeys: () => Object.keys(call(`${kind}.all`)),
  getOwnPropertyDescriptor: (_, name) => {
    const value = call(`${kind}.get`, String(name));
    return value === undefined ? undefined : { value, enumerable: true, configurable: true, writable: true };
  },
});

const vuTags = labels('tags');
const vuMetadata = labels('metadata');

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
