// Options from variables, laid over the script's.
// env: K6_VUS=2
// env: K6_ITERATIONS=4
// env: K6_USER_AGENT=from a variable
// env: K6_MAX_REDIRECTS=2
// env: K6_BATCH=7
// env: K6_BATCH_PER_HOST=3
// env: K6_RPS=400
// env: K6_THROW=true
// env: K6_NO_SETUP=true
// env: K6_NO_TEARDOWN=true
// env: K6_SETUP_TIMEOUT=7s
// env: K6_TEARDOWN_TIMEOUT=8s
// env: K6_DISCARD_RESPONSE_BODIES=true
// env: K6_NO_CONNECTION_REUSE=true
// env: K6_NO_VU_CONNECTION_REUSE=true
// env: K6_NO_COOKIES_RESET=true
// env: K6_INSECURE_SKIP_TLS_VERIFY=true
// env: K6_BLACKLIST_IPS=10.0.0.0/8
// env: K6_BLOCK_HOSTNAMES=*.blocked.test,exact.test
// env: K6_MIN_ITERATION_DURATION=20ms
// env: K6_SUMMARY_TREND_STATS=avg,p(99)
// env: K6_SUMMARY_TIME_UNIT=s
// env: K6_SYSTEM_TAGS=status,method
// env: K6_DNS=ttl=0,select=roundRobin,policy=onlyIPv4
// env: MINE=for the script
// json
// rows: option.noSetup option.noTeardown option.setupTimeout option.teardownTimeout option.summaryTimeUnit
// sorted
import http from 'k6/http';
import exec from 'k6/execution';
import { row, shown } from './row.js';

export const options = { vus: 9, duration: '1h', userAgent: 'from the script', batch: 1 };

export function setup() { row('env.K6_NO_SETUP', () => 'was called'); }

export default function () {
  const { options: all } = exec.test;
  row('env.K6_USER_AGENT env.K6_MAX_REDIRECTS', () => { const answer = http.get(`${__ENV.URL}/redirect/5`); return [answer.request.headers['User-Agent'], answer.status, answer.url.replace(__ENV.URL, ''), answer.body]; });
  row('env.K6_BATCH env.K6_BATCH_PER_HOST env.K6_RPS env.K6_THROW', () => [all.batch, all.batchPerHost, all.rps, all.throw]);
  row('env.K6_NO_SETUP env.K6_NO_TEARDOWN env.K6_SETUP_TIMEOUT env.K6_TEARDOWN_TIMEOUT', () => [all.noSetup, all.noTeardown, all.setupTimeout, all.teardownTimeout]);
  row('env.K6_DISCARD_RESPONSE_BODIES env.K6_NO_CONNECTION_REUSE env.K6_NO_VU_CONNECTION_REUSE env.K6_NO_COOKIES_RESET env.K6_INSECURE_SKIP_TLS_VERIFY', () => [all.discardResponseBodies, all.noConnectionReuse, all.noVUConnectionReuse, all.noCookiesReset, all.insecureSkipTLSVerify]);
  row('env.K6_BLACKLIST_IPS env.K6_BLOCK_HOSTNAMES env.K6_MIN_ITERATION_DURATION', () => [all.blacklistIPs, all.blockHostnames, all.minIterationDuration]);
  row('env.K6_SUMMARY_TREND_STATS env.K6_SUMMARY_TIME_UNIT env.K6_SYSTEM_TAGS env.K6_DNS', () => [all.summaryTrendStats, all.summaryTimeUnit, [...all.systemTags].sort(), all.dns]);
  row('env.K6_VUS env.K6_ITERATIONS', () => all.scenarios);
  row('life.__ENV', () => __ENV.MINE);
}

export function teardown() { row('env.K6_NO_TEARDOWN', () => 'was called'); }

export function handleSummary(data) {
  return { stdout: `option.noSetup option.noTeardown option.setupTimeout option.teardownTimeout option.summaryTimeUnit option.noVUConnectionReuse: ${shown([data.options.summaryTimeUnit, data.metrics.iterations.values.count, 'setup_data' in data])}\n` };
}
