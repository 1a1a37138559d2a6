import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The contents of a file; undefined if it does not exist. */
type Content = Buffer | undefined

/**
 * Which contents the clients expect under each name. After a lost Ack there are two possible contents, until
 * one of them is found: a published file stays published.
 */
export class ExpectedFiles {
  readonly #directory: string
  readonly #allowed = new Map<string, Content[]>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Allows a file in addition to the present contents, because its last byte has been sent. */
  allow(name: string, file: Buffer): void {
    const allowed = this.#allowedAt(name)
    if (!allowed.includes(file)) this.#allowed.set(name, [...allowed, file])
  }

  /** Allows only these contents, after the final Ack or a change by the test itself. */
  require(name: string, content: Content): void {
    this.#allowed.set(name, [content])
  }

  names(): IterableIterator<string> {
    return this.#allowed.keys()
  }

  /** Whether a file may exist under a name. */
  mayExist(name: string): boolean {
    return this.#allowedAt(name).some((content) => content !== undefined)
  }

  /** @returns a description of the problem, if the contents under a name are not allowed */
  check(name: string): string | undefined {
    const found = readIfExists(join(this.#directory, name))
    const allowed = this.#allowedAt(name)
    const index = allowed.findIndex((content) => isEqual(content, found))
    if (index >= 0) {
      // Later contents may still appear, earlier ones must not.
      this.#allowed.set(name, allowed.slice(index))
      return undefined
    }
    const lengths = allowed.map((content) => content?.length ?? 'nothing').join(' or ')
    return `${name}: ${found?.length ?? 'nothing'} bytes found, ${lengths} expected`
  }

  #allowedAt(name: string): Content[] {
    return this.#allowed.get(name) ?? [undefined]
  }
}

const isEqual = (a: Content, b: Content): boolean => (a && b ? a.equals(b) : a === b)

/** @returns the contents of a file; undefined if it does not exist */
export function readIfExists(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
