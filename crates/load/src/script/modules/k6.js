import { call, addCheck, sleepFor } from 'springtide:runtime';

export function sleep(seconds) {
  sleepFor(Number(seconds));
}

export function fail(reason) {
  throw new Error(reason === undefined ? '' : String(reason));
}

export function check(value, conditions, tags) {
  let all = true;
  if (conditions === null || conditions === undefined) throw new TypeError('check: no conditions were given');
  for (const name of Object.keys(conditions)) {
    const condition = conditions[name];
    let passed;
    try {
      passed = typeof condition === 'function' ? condition(value) : condition;
    } catch (error) {
      addCheck(name, false, tags);
      throw error;
    }
    if (passed instanceof Promise) {
      throw new TypeError(`check ${JSON.stringify(name)}: async functions are not supported as conditions; await the value before the check`);
    }
    passed = !!passed;
    all = all && passed;
    addCheck(name, passed, tags);
  }
  return all;
}

export function group(name, body) {
  if (typeof body !== 'function') throw new TypeError('group() requires a callback as a second argument');
  if (Object.getPrototypeOf(body).constructor.name === 'AsyncFunction') {
    throw new TypeError('group() does not support async functions as arguments, please see https://grafana.com/docs/k6/latest/javascript-api/k6/group/ for more info');
  }
  const before = call('group.enter', String(name));
  try {
    return body();
  } finally {
    call('group.leave', before);
  }
}

export function randomSeed(seed) {
  call('seed', Number(seed));
  Math.random = () => call('random');
}

export default { sleep, fail, check, group, randomSeed };
