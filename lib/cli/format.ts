import bytes from 'bytes'

/** `1.5MB`, in powers of 1024. */
export const formatSize = (size: number): string => bytes.format(size, { decimalPlaces: 1 }) ?? `${size}B`

/** `1.5MB/s`, for bytes that were transferred in this time. */
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
  let rest = Math.round(seconds)
  const parts: string[] = []
  for (const [name, length] of units) {
    const count = Math.floor(rest / length)
    rest -= count * length
    if (count > 0) parts.push(`${count} ${name}`)
  }
  return parts.slice(0, 2).join(' ')
}

/** `1 file`, `2 files`. */
export const countOf = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

/** Replaces control characters by `?`: the file name of a client must not control the terminal. */
export const printable = (name: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
  name.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?')
