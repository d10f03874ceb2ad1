// The closed executors: how many iterations there are, and whose they are.
// sorted
// rows: option.scenarios scenario.startTime scenario.gracefulStop scenario.gracefulRampDown
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { row } from './row.js';

const ended = new Counter('ended');

export const options = {
  scenarios: {
    shared: { executor: 'shared-iterations', vus: 3, iterations: 9, maxDuration: '10s', exec: 'named' },
    shared_short: { executor: 'shared-iterations', vus: 2, iterations: 100, maxDuration: '1s', gracefulStop: '0s', exec: 'slow' },
    each: { executor: 'per-vu-iterations', vus: 2, iterations: 3, maxDuration: '10s', exec: 'named' },
    constant: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '3s', exec: 'long' },
    constant_cut: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s', exec: 'long' },
    ramping: { executor: 'ramping-vus', startVUs: 1, stages: [{ duration: '1s', target: 3 }, { duration: '500ms', target: 3 }, { duration: '0s', target: 0 }], gracefulRampDown: '3s', gracefulStop: '3s', exec: 'long' },
    // Who leaves at the very end has the time that the ramp leaves him, not the scenario's.
    ramping_cut: { executor: 'ramping-vus', startVUs: 2, stages: [{ duration: '1s', target: 2 }, { duration: '0s', target: 1 }], gracefulRampDown: '100ms', gracefulStop: '8s', exec: 'long' },
  },
};

/** Whose iteration it is, where that is decided by nobody's speed. */
export function named() {
  row('executor.per-vu-iterations executor.shared-iterations', () => [exec.scenario.name, exec.scenario.executor, exec.scenario.iterationInTest, exec.scenario.name === 'each' ? exec.vu.iterationInScenario : 'any']);
  sleep(0.05);
}

export function slow() {
  sleep(5);
}

export function long() {
  row('executor.constant-vus executor.ramping-vus', () => [exec.scenario.name, exec.scenario.executor, exec.vu.iterationInScenario]);
  sleep(2.2);
  ended.add(1, { of: exec.scenario.name });
}
