/* The first row of a file that is to be imported, read here: nothing is uploaded for it. */
const MOST_BYTES = 65_536;

export const typeOf = (name) => ({ csv: "csv", tsv: "csv", txt: "csv", ndjson: "ndjson", jsonl: "ndjson", xlsx: "xlsx" })[name.toLowerCase().split(".").pop()] ?? null;

/** `{names, samples, delimiter}`: the columns, up to three values of each; Error in words where there is no header. */
export async function readHeader(file, type) {
  if (type === "xlsx") return fromRows(await rowsOfWorkbook(file));
  const text = (await file.slice(0, MOST_BYTES).text()).replace(/^\ufeff/, "");
  if (type === "ndjson") return fromObjects(text);
  const delimiter = [",", ";", "\t", "|"].map((each) => [each, firstLine(text).split(each).length]).sort((a, b) => b[1] - a[1])[0][0];
  return { ...fromRows(rowsOfCsv(text, delimiter, 4)), delimiter };
}

const firstLine = (text) => text.slice(0, text.search(/[\r\n]|$/));

function fromRows(rows) {
  const [names, ...rest] = rows.filter((row) => row.some((cell) => cell !== ""));
  if (!names) throw new Error("This file has no header we can read. Its first line must name the columns.");
  return { names, samples: names.map((_, n) => rest.slice(0, 3).map((row) => row[n] ?? "").filter(Boolean)) };
}

function fromObjects(text) {
  const objects = [];
  for (const line of text.split("\n").slice(0, 20)) {
    try {
      const value = JSON.parse(line);
      if (value && typeof value === "object" && !Array.isArray(value)) objects.push(value);
    } catch {
      // The last line of the piece that was read is cut; the server judges the others.
    }
  }
  const names = [...new Set(objects.flatMap((each) => Object.keys(each)))];
  if (!names.length) throw new Error("This file has no object that we can read. Each line must be one JSON object.");
  return { names, samples: names.map((name) => objects.slice(0, 3).map((each) => String(each[name] ?? "")).filter(Boolean)) };
}

/** The first rows of a CSV (RFC 4180). */
export function rowsOfCsv(text, delimiter, most) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let n = 0; n < text.length && rows.length < most; n += 1) {
    const at = text[n];
    if (quoted) {
      if (at !== '"') cell += at;
      else if (text[n + 1] === '"') { cell += '"'; n += 1; } else quoted = false;
    } else if (at === '"' && cell === "") quoted = true;
    else if (at === delimiter) { row.push(cell); cell = ""; } else if (at === "\n" || at === "\r") {
      if (at === "\r" && text[n + 1] === "\n") n += 1;
      rows.push([...row, cell]);
      row = [];
      cell = "";
    } else cell += at;
  }
  if (rows.length < most && (cell || row.length)) rows.push([...row, cell]);
  return rows;
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const unescape = (text) => text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex, digits, name) => (hex || digits
  ? String.fromCodePoint(parseInt(hex ?? digits, hex ? 16 : 10)) : ENTITIES[name] ?? all));
const texts = (xml) => unescape([...xml.matchAll(/<t(?:\s[^>]*)?>([^<]*)<\/t>/g)].map((found) => found[1]).join(""));

async function rowsOfWorkbook(file) {
  const parts = await directory(file);
  const sheet = [...parts.keys()].filter((name) => /^xl\/worksheets\/sheet\d+\.xml$/.test(name)).sort((a, b) => parseInt(a.match(/\d+/)) - parseInt(b.match(/\d+/)))[0];
  if (!sheet) throw new Error("This is no workbook that we can read.");
  const xml = await inflate(file, parts.get(sheet));
  const strings = parts.has("xl/sharedStrings.xml") ? await inflate(file, parts.get("xl/sharedStrings.xml")) : "";
  const shared = [...strings.matchAll(/<si>(.*?)<\/si>/gs)].map((found) => texts(found[1]));
  return [...xml.matchAll(/<row[\s>].*?<\/row>/gs)].slice(0, 4).map((row) => {
    const cells = [];
    for (const [, attributes, inner = ""] of row[0].matchAll(/<c\s([^>]*?)(?:\/>|>(.*?)<\/c>)/gs)) {
      const letters = /\br="([A-Z]+)/.exec(attributes)?.[1] ?? "";
      const column = [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;
      const value = /<v>([^<]*)<\/v>/.exec(inner)?.[1] ?? "";
      cells[column < 0 ? cells.length : column] = /\bt="s"/.test(attributes) ? shared[Number(value)] ?? "" : /\bt="inlineStr"/.test(attributes) ? texts(inner) : unescape(value);
    }
    return Array.from(cells, (cell) => cell ?? "");
  });
}

/** The parts of a ZIP by name (APPNOTE.TXT 4.3.12): where they begin, how long they are, how they are packed. */
async function directory(file) {
  const tail = new DataView(await file.slice(Math.max(0, file.size - MOST_BYTES - 22)).arrayBuffer());
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("This is no workbook that we can read.");
  const begin = tail.getUint32(end + 16, true);
  const view = new DataView(await file.slice(begin, begin + tail.getUint32(end + 12, true)).arrayBuffer());
  const parts = new Map();
  for (let at = 0; at + 46 <= view.byteLength && view.getUint32(at, true) === 0x02014b50;) {
    const length = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, length));
    parts.set(name, { packed: view.getUint16(at + 10, true) === 8, size: view.getUint32(at + 20, true), at: view.getUint32(at + 42, true) });
    at += 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return parts;
}

async function inflate(file, { packed, size, at }) {
  const head = new DataView(await file.slice(at, at + 30).arrayBuffer());
  const begin = at + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const body = file.slice(begin, begin + size);
  if (!packed) return (await body.slice(0, 4 * MOST_BYTES).text());
  const reader = body.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (text.length < 4 * MOST_BYTES) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel().catch(() => {});
  return text;
}

/** For each column the field that it most likely is: the same name, whatever its case, spaces and signs. */
export function guess(names, fields) {
  const bare = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const free = new Map(fields.map((field) => [bare(field), field]));
  return names.map((name) => {
    const found = free.get(bare(name)) ?? null;
    if (found) free.delete(bare(name));
    return found;
  });
}
