import { call, check as checkAll, sleep as sleepFor } from 'springtide:runtime';

export const sleep = sleepFor;
export const check = checkAll;

export function fail(reason) {
  throw new Error(reason === undefined ? '' : String(reason));
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
