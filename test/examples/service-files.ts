import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { folder } from './start.ts'

/** The text of a file of `examples/service`. */
export const serviceFile = (name: string): string => readFileSync(join(folder, 'service', name), 'utf8')

/** The values of a key in a unit of systemd, one for each line that sets it. */
export const unitValues = (unit: string, key: string): string[] =>
  unit.split('\n').flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []))

/** The arguments of an instruction in the Dockerfile that has the form of a JSON array. */
export function dockerArguments(instruction: string): string[] {
  const [, array] =
    new RegExp(`^${instruction} (\\[.*\\])$`, 'm').exec(serviceFile('Dockerfile').replace(/\\\n\s*/g, '')) ??
    []
  if (array === undefined) throw new Error(`The Dockerfile has no ${instruction}`)
  return JSON.parse(array)
}
