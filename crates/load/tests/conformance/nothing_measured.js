// Thresholds on what was never measured: a rate of nothing crosses none.
// json
// rows: threshold.rate threshold.sub-metric
import { check } from 'k6';
import { Rate } from 'k6/metrics';
import { row } from './row.js';

const never = new Rate('never');

export const options = {
  thresholds: {
    never: ['rate>0.5', 'rate<0.5', 'rate==1'],
    http_req_failed: ['rate>0.5'],
    'checks{a:b}': ['rate>0.9'],
    checks: ['rate==1'],
    http_reqs: ['count==0'],
  },
};

export default function () {
  row('metrics.Rate', () => never.name);
  check(1, { untagged: () => true });
}
