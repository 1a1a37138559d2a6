import bytes from 'bytes'

/** `1.5MB`, in powers of 1024. */
export const formatSize = (size: number): string => bytes.format(size, { decimalPlaces: 1 }) ?? `${size}B`

/** `1.5MB/s`, of bytes that took so many milliseconds. */
export const formatRate = (size: number, milliseconds: number): string =>
  `${formatSize(Math.round((size / Math.max(milliseconds, 1)) * 1000))}/s`

/** `0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function formatTime(milliseconds: number): string {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  const units: [name: string, length: number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ]
  let left = Math.round(seconds)
  const parts: string[] = []
  for (const [name, length] of units) {
    const count = Math.floor(left / length)
    left -= count * length
    if (count > 0) parts.push(`${count} ${name}`)
  }
  return parts.slice(0, 2).join(' ')
}

/** `1 file`, `2 files`. */
export const countOf = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

/** A name as a terminal may be shown it: a client's file name must not move its cursor. */
export const printable = (name: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what it takes out
  name.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?')
