// The global `console`.
import { call } from 'springtide:runtime';

function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  if (typeof value === 'function') return 'null';
  if (typeof value === 'number' || typeof value === 'symbol' || value === undefined) return String(value);
  try {
    const text = JSON.stringify(value);
    return text === undefined ? String(value) : text;
  } catch {
    return String(value);
  }
}

const log = (level) => (...values) => call('log', level, values.map(shown).join(' '));
globalThis.console = {
  log: log('info'), info: log('info'), debug: log('debug'), warn: log('warning'), error: log('error'), trace: log('debug'),
};
