// A duration, from a variable, in the place of the script's stages.
// env: K6_VUS=2
// env: K6_DURATION=1s
// sorted
import exec from 'k6/execution';
import { sleep } from 'k6';
import { row } from './row.js';

export const options = { vus: 5, stages: [{ duration: '1h', target: 9 }] };

export default function () {
  row('env.K6_DURATION option.vus-duration-iterations-stages', () => [exec.test.options.scenarios, exec.scenario.name, exec.scenario.executor, __ITER]);
  sleep(2);
}
