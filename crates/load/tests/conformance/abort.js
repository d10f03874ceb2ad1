// A script that ends the test: the iteration that does it counts, what was left over is not dropped.
// rows: exec.test.abort exit.108
import exec from 'k6/execution';
import { row } from './row.js';

export const options = { vus: 1, iterations: 10 };

export default function () {
  if (exec.scenario.iterationInTest === 4) {
    row('exec.test.abort', () => exec.scenario.iterationInTest);
    exec.test.abort('enough');
  }
}
