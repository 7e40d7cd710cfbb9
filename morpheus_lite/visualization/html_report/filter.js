// Filters: conditions on columns joined by commas or "and", such as
//   p_disk > 0.5, kron_mag_F160W < 25, flags !~ edge

const OPERATORS = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};

// A function of a row that tells whether all conditions hold. Throws an Error whose message says what is wrong.
function compileFilter(text) {
  const terms = text.split(/\s*(?:,|;|&&|\band\b)\s*/i).map((term) => term.trim()).filter(Boolean);
  const tests = terms.map(compileTerm);
  return (row) => tests.every((test) => test(row));
}

function compileTerm(term) {
  const match = /^(.+?)\s*(<=|>=|!=|==|!~|=|<|>|~)\s*(.*)$/.exec(term);
  if (!match) return compileWord(term);
  const [, name, sign, value] = match;
  const column = columns.find((each) => each.name.toLowerCase() === name.trim().toLowerCase());
  if (!column) throw new Error(`There is no column “${name}”. “Columns” lists those there are.`);
  const wanted = value.trim().replace(/^(["'])(.*)\1$/, "$2");
  if (wanted === "") throw new Error(`“${term}” compares with nothing: add a value.`);
  if (sign.endsWith("~")) return compileContains(column, wanted.toLowerCase(), sign === "!~");
  const compare = OPERATORS[sign === "==" ? "=" : sign];
  if (column.isText) {
    const texts = column.values.map((each) => compare(each.toLowerCase(), wanted.toLowerCase()));
    return (row) => texts[column.data[row]];
  }
  const number = column.kind === "bool" && /^(yes|no|true|false)$/i.test(wanted) ? Number(/^(yes|true)$/i.test(wanted)) : Number(wanted);
  if (!Number.isFinite(number)) throw new Error(`“${wanted}” is not a number, and ${column.name} holds numbers.`);
  // A missing value (NaN) meets no condition.
  return (row) => !Number.isNaN(column.data[row]) && compare(column.data[row], number);
}

function compileContains(column, wanted, isNegated) {
  if (column.isFlags) {
    const bits = Object.entries(payload.flags).filter(([, name]) => name.includes(wanted.replaceAll(" ", "_")));
    if (!bits.length) throw new Error(`There is no flag “${wanted}”: there are ${Object.values(payload.flags).join(", ")}.`);
    const mask = bits.reduce((sum, [bit]) => sum | Number(bit), 0);
    return (row) => Boolean(column.data[row] & mask) !== isNegated;
  }
  return (row) => cellText(column, row).toLowerCase().includes(wanted) !== isNegated;
}

// A bare word: a label, or part of any text.
function compileWord(word) {
  const wanted = word.toLowerCase();
  const texts = columns.filter((column) => column.isText);
  const isNumber = /^\d+$/.test(wanted);
  if (!isNumber && !texts.length) throw new Error(`“${word}”: write a condition, such as “${columns[0].name} > 1”.`);
  return (row) =>
    (isNumber && labelColumn && Number(labelColumn.data[row]) === Number(wanted)) ||
    texts.some((column) => column.values[column.data[row]].toLowerCase().includes(wanted));
}
