/* A cron expression of five fields as a sentence; null where no sentence is better than the expression itself. */
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS = ["", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const NAMES = { sun: 0, mon: 1, tue: 2, wed: 3, thu: 4, fri: 5, sat: 6 };

const list = (parts) => (parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`);

/** The whole numbers that a field of plain lists and ranges means; null for steps and letters. */
function numbers(field, names = {}) {
  const found = [];
  for (const part of field.toLowerCase().split(",")) {
    const [from, to = from] = part.split("-").map((each) => names[each] ?? (/^\d+$/.test(each) ? Number(each) : NaN));
    if (Number.isNaN(from) || Number.isNaN(to) || to < from || to - from > 60) return null;
    for (let n = from; n <= to; n += 1) found.push(n);
  }
  return found;
}

const padded = (n) => String(n).padStart(2, "0");

export function readCron(text) {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 5) return null;
  const [minute, hour, day, month, weekday] = fields;
  const when = whichDays(day, month, weekday);
  const every = /^\*\/(\d+)$/.exec(hour);
  if (!when) return null;
  if (every && /^\d+$/.test(minute)) return `${when}, every ${every[1]} hours at minute ${Number(minute)}`;
  if (hour === "*" && /^\d+$/.test(minute)) return `${when}, each hour at minute ${Number(minute)}`;
  const minutes = numbers(minute), hours = numbers(hour);
  if (!minutes || !hours || minutes.length * hours.length > 6) return null;
  return `${when} at ${list(hours.flatMap((h) => minutes.map((m) => `${padded(h)}:${padded(m)}`)))}`;
}

function whichDays(day, month, weekday) {
  const months = month === "*" ? "" : numbers(month) && ` in ${list(numbers(month).map((n) => MONTHS[n]))}`;
  if (months === null) return null;
  if (day === "*" && weekday === "*") return `Every day${months}`;
  const weekdays = weekday === "*" ? null : numbers(weekday, NAMES);
  if (weekday !== "*" && !weekdays) return null;
  if (day === "*") {
    if (weekdays.join() === "1,2,3,4,5") return `Every weekday${months}`;
    return `Every ${list(weekdays.map((n) => DAYS[n]))}${months}`;
  }
  const days = numbers(day);
  if (!days) return null;
  const first = `On day ${list(days.map(String))} of ${months ? months.slice(4) : "every month"}`;
  return weekdays ? `${first} and every ${list(weekdays.map((n) => DAYS[n]))}` : first;
}
