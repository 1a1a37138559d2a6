import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What may stand under a name: a file's bytes, or nothing. */
type Content = Buffer | undefined

/**
 * What may stand under each name, as the clients know it from their Acks. Where an Ack was lost there are two answers,
 * until one is seen: what was published stays published.
 */
export class Ledger {
  readonly #directory: string
  readonly #allowed = new Map<string, Content[]>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** The last byte is on its way: from now on the file may be there. */
  mayAppear(name: string, file: Buffer): void {
    const allowed = this.#of(name)
    if (!allowed.includes(file)) this.#allowed.set(name, [...allowed, file])
  }

  /** The final Ack, or whatever the test itself did: it must be this, and stay. */
  mustBe(name: string, content: Content): void {
    this.#allowed.set(name, [content])
  }

  names(): IterableIterator<string> {
    return this.#allowed.keys()
  }

  /** Whether a file may stand under a name. */
  expects(name: string): boolean {
    return this.#of(name).some((content) => content !== undefined)
  }

  /** @returns what is wrong with the name, if anything is */
  check(name: string): string | undefined {
    const found = contentOf(join(this.#directory, name))
    const allowed = this.#of(name)
    const index = allowed.findIndex((content) => isSame(content, found))
    if (index >= 0) {
      // What came later may still come; what was before may not come back.
      this.#allowed.set(name, allowed.slice(index))
      return undefined
    }
    const lengths = allowed.map((content) => content?.length ?? 'nothing').join(' or ')
    return `${name}: ${found?.length ?? 'nothing'} bytes found, ${lengths} expected`
  }

  #of(name: string): Content[] {
    return this.#allowed.get(name) ?? [undefined]
  }
}

const isSame = (a: Content, b: Content): boolean => (a && b ? a.equals(b) : a === b)

/** The bytes of a file, undefined if there is none. */
export function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
