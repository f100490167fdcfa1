/** Numbers as the report writes them. Pure. */

/** Between thousands: a thin space that does not break, as ISO 80000-1 has it. */
const thousandsSpace = '\u202F';

/** A number with as many digits as it needs, thousands set apart, a true minus sign: `80 000 000`, `0.05`, `−3`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return powerOfTen(value);
  return withSign(value, groupThousands(String(Number(size.toPrecision(12)))));
}

/** A number to so many significant digits, whole digits never cut: `12.3`, `9 871`, `0.00412`. */
export function formatSignificant(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-5 || size >= 1e15) return powerOfTen(Number(value.toPrecision(digits)));
  const exponent = Math.floor(Math.log10(size));
  return withSign(value, groupThousands(size.toFixed(Math.min(100, Math.max(0, digits - 1 - exponent)))));
}

/** A fraction as per cent with its sign: `+0.4 %`, `−2.5 %`, `0.0 %`. */
export function formatPercent(fraction: number, { unit = true } = {}): string {
  if (!Number.isFinite(fraction)) return '–';
  const size = Math.abs(fraction * 100);
  const text = size.toFixed(size < 99.95 ? 1 : 0);
  const sign = Number(text) === 0 ? '' : fraction < 0 ? '−' : '+';
  return `${sign}${groupThousands(text)}${unit ? '\u202F%' : ''}`;
}

/** A fraction with its interval: `−0.3 % [−0.9, +0.4]`. */
export function formatPercentInterval(fraction: number, low: number, high: number): string {
  const bound = (value: number) => formatPercent(value, { unit: false });
  return `${formatPercent(fraction)} [${bound(low)}, ${bound(high)}]`;
}

/** A tolerance, a fraction, as the band that it is: `±1 %`. */
export function formatTolerance(fraction: number): string {
  return `±${formatNumber(Number((fraction * 100).toPrecision(3)))}\u202F%`;
}

/** A size of a message: `1 B`, `64 KiB`, `4 MiB`. */
export function formatMessageSize(bytes: number): string {
  if (bytes >= 2 ** 20 && bytes % 2 ** 20 === 0) return `${bytes / 2 ** 20}\u202FMiB`;
  if (bytes >= 2 ** 10 && bytes % 2 ** 10 === 0) return `${bytes / 2 ** 10}\u202FKiB`;
  return `${formatNumber(bytes)}\u202FB`;
}

function powerOfTen(value: number): string {
  const [mantissa = '', exponent = ''] = value.toExponential().split('e');
  const superscript = exponent
    .replace('+', '')
    .replace(/[-\d]/g, (digit) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'.at('-0123456789'.indexOf(digit))!);
  const rounded = String(Number(Number(mantissa).toPrecision(3))).replace('-', '−');
  return rounded === '1' ? `10${superscript}` : `${rounded}·10${superscript}`;
}

function groupThousands(digits: string): string {
  const [whole = '', part] = digits.split('.');
  const grouped = whole.length < 5 ? whole : whole.replace(/\B(?=(\d{3})+$)/g, thousandsSpace);
  return part === undefined ? grouped : `${grouped}.${part}`;
}

function withSign(value: number, size: string): string {
  return value < 0 ? `−${size}` : size;
}
