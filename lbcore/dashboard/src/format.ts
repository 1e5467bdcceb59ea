// Numbers, durations and times as people read them.

const NARROW = "\u202f"; // between a number and its unit

function digits(value: number, most: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: most, minimumFractionDigits: 0, useGrouping: false });
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** `one` or `many` things, with their number. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A number in few characters: 0.4, 12, 3.2 k, 1.5 M. */
export function short(value: number): string {
  if (value < 10) return digits(value, 1);
  if (value < 1000) return digits(value, 0);
  return value < 1e6 ? `${digits(value / 1e3, value < 1e4 ? 1 : 0)}${NARROW}k` : `${digits(value / 1e6, 1)}${NARROW}M`;
}

export function perSecond(value: number | undefined): string {
  return `${short(value ?? 0)}/s`;
}

export function ms(value: number | undefined): string {
  if (value === undefined) return "–";
  if (value < 1) return `${digits(value, 2)}${NARROW}ms`;
  if (value < 1000) return `${digits(value, value < 10 ? 1 : 0)}${NARROW}ms`;
  return `${digits(value / 1000, value < 10000 ? 1 : 0)}${NARROW}s`;
}

/** A part of one as a percentage. */
export function percent(part: number): string {
  const value = part * 100;
  return `${digits(value, value < 10 && value > 0 ? 1 : 0)}${NARROW}%`;
}

export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step++;
  }
  return `${digits(value, value < 10 ? 1 : 0)}${NARROW}${units[step]}`;
}

/** Bytes of memory, in units of 1024. */
export function memory(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (value >= 1024 && step < units.length - 1) {
    value /= 1024;
    step++;
  }
  return `${digits(value, step > 0 && value < 100 ? 1 : 0)}${NARROW}${units[step]}`;
}

/** A duration in its two largest units. */
export function lasting(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return `0${NARROW}s`;
  const shown = parts.slice(first, first + 2).filter(([value], place) => value > 0 || place === 0);
  return shown.map(([value, unit]) => value + NARROW + unit).join(" ");
}

export function clock(milliseconds: number): string {
  return new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** A time of day, with the date if that is not today's. */
export function moment(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === 0) return "never";
  const time = new Date(value);
  const date = new Intl.DateTimeFormat("sv").format(time); // year-month-day
  return date === new Intl.DateTimeFormat("sv").format(new Date()) ? clock(time.getTime()) : `${date} ${clock(time.getTime())}`;
}
