// Stages, from a variable, in the place of the script's iterations.
// env: K6_STAGES=500ms:2,1s:2
// sorted
import exec from 'k6/execution';
import { sleep } from 'k6';
import { row } from './row.js';

export const options = { vus: 1, iterations: 3 };

export default function () {
  row('env.K6_STAGES option.vus-duration-iterations-stages', () => [exec.test.options.scenarios, exec.scenario.name, exec.scenario.executor, __ITER]);
  sleep(2);
}
