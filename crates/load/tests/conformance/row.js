// Writes what a row of the table gives, in a form that both programs can be held to.

export function shown(value) {
  if (value === undefined) return 'undefined';
  if (typeof value === 'function') return 'a function';
  if (value instanceof ArrayBuffer) return `bytes ${new Uint8Array(value).join()}`;
  if (ArrayBuffer.isView(value)) return `view ${Array.from(value).join()}`;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.keys(value).sort().map((key) => `${key}: ${shown(value[key])}`).join(', ')}}`;
  }
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : JSON.stringify(value);
}

/** Writes the value of `make` under the names of rows. */
export function row(rows, make) {
  let text;
  try {
    text = shown(make());
  } catch (error) {
    text = `threw ${error.message === undefined ? String(error) : error.message}`;
  }
  console.log(`${rows}: ${text}`);
}

/** The same, for what comes later. */
export async function later(rows, make) {
  let text;
  try {
    text = shown(await make());
  } catch (error) {
    text = `threw ${error.name} ${error.message}`;
  }
  console.log(`${rows}: ${text}`);
}

/** Says that something threw, where the programs word it differently. */
export function thrown(make) {
  try {
    make();
    return 'nothing was thrown';
  } catch (error) {
    return 'threw';
  }
}
