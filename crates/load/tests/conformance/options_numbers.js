// Numbers of options that are written as texts, as those of __ENV are.
// sorted
import exec from 'k6/execution';
import { sleep } from 'k6';
import { row } from './row.js';

export const options = {
  maxRedirects: '3',
  batch: '4',
  rps: '',
  scenarios: {
    counted: { executor: 'shared-iterations', vus: '2', iterations: '4' },
    rated: { executor: 'constant-arrival-rate', rate: '2', timeUnit: '10s', duration: '1s', preAllocatedVUs: '2', maxVUs: '3', exec: 'rated' },
    ramped: { executor: 'ramping-vus', startVUs: '1', stages: [{ duration: '1s', target: '1' }], exec: 'waits' },
  },
};

export default function () {
  const { maxRedirects, batch, rps, scenarios } = exec.test.options;
  row('option.numbers-as-text', () => [maxRedirects, batch, rps, scenarios]);
}
export function rated() { row('option.numbers-as-text', () => 'rated'); }
export function waits() { exec.vu.tags.a = 'b'; sleep(2); }
