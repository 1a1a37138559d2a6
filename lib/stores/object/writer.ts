import {
  layoutSize,
  nextGroup,
  nextPart,
  pieceName,
  randomId,
  readAll,
  tailSize,
  tailToCompact,
  type UploadLayout,
  withPart,
  withPiece,
} from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { ObjectService, ServiceOptions } from './service/service.ts'

/** A write under way, and what is held when it has succeeded. */
interface PartWrite {
  readonly done: Promise<unknown>
  readonly after: UploadLayout
}

/** The bytes that may have been written when they are counted next: this is what the death of a node costs at most. */
const PartsPerCheckpoint = 16

/** Writes a fragment behind what is held: whole parts as they fill, several at a time, and the rest as a piece. */
export class Writer {
  readonly #service: ObjectService
  readonly #place: string
  readonly #memory: MemoryBudget
  /** Its writes end when nobody waits for them any more: they would have their memory as long as the service hangs. */
  readonly #options: ServiceOptions
  /** What is surely held. */
  #held: UploadLayout
  /** What is held when all writes under way have succeeded. */
  #expected: UploadLayout
  readonly #writes: PartWrite[] = []
  readonly #gathered = new WriteBuffer()
  #tail: number
  #parts = 0
  /** What is of no use any more once {@link held} is counted. */
  #obsolete: string[] = []

  /** @param place where the upload's bytes lie */
  constructor(
    space: ObjectService,
    place: string,
    held: UploadLayout,
    memory: MemoryBudget,
    { signal }: ServiceOptions,
  ) {
    this.#service = space
    this.#place = place
    this.#memory = memory
    this.#options = signal ? { signal } : {}
    this.#held = held
    this.#expected = held
    this.#tail = tailSize(held)
  }

  get held(): UploadLayout {
    return this.#held
  }

  /** Whether so much was written that it should be counted, even if the fragment goes on for long. */
  get needsCheckpoint(): boolean {
    return this.#parts >= PartsPerCheckpoint
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      let rest = chunk
      while (rest.length > 0) {
        const taken = rest.subarray(0, this.#held.part - this.#tail - this.#gathered.size)
        rest = rest.subarray(taken.length)
        this.#gathered.add(taken)
        const { size } = this.#gathered
        if (this.#tail + size === this.#held.part) await this.#writePart()
        else if (size >= this.#memory.bufferSize) await this.#writePiece()
      }
    }
  }

  /** Resolves when all that was given is held. What is held also tells how far it came when this fails. */
  async flush(): Promise<void> {
    if (this.#gathered.size > 0) await this.#writePiece()
    await this.#awaitWrites(0)
    await this.#compact()
    this.#parts = 0
  }

  /** Forgets what was of use only until what is held was counted. */
  async removeObsolete(): Promise<void> {
    const spent = this.#obsolete
    this.#obsolete = []
    // What is not removed now goes with the session.
    if (spent.length > 0) await this.#service.remove(spent).catch(() => {})
  }

  async #writePart(): Promise<void> {
    const before = this.#expected
    const gathered = this.#gathered.drain()
    const tail = before.pieces.map(({ name, size }) => ({ key: this.#keyOf(before, name), size }))
    this.#tail = 0
    this.#parts += 1
    const write = async (): Promise<void> => {
      // The pieces of the tail may be on their way yet.
      await Promise.all(pending)
      const put = (bytes: readonly Uint8Array[]) =>
        this.#service.put(this.#place + nextPart(before), bytes, this.#options)
      if (tail.length === 0) await put(gathered)
      else {
        await this.#memory.reserve(tailSize(before), async () =>
          put([await readAll(this.#service, tail), ...gathered]),
        )
      }
    }
    const pending = tail.length > 0 ? this.#writes.map(({ done }) => done) : []
    this.#obsolete.push(...tail.map(({ key }) => key))
    await this.#begin(write(), withPart(before))
  }

  async #writePiece(): Promise<void> {
    const piece = { name: randomId(), size: this.#gathered.size, level: 0 }
    const gathered = this.#gathered.drain()
    this.#tail += piece.size
    const write = this.#service.put(this.#keyOf(this.#expected, piece.name), gathered, this.#options)
    await this.#begin(write, withPiece(this.#expected, piece))
  }

  async #begin(done: Promise<unknown>, after: UploadLayout): Promise<void> {
    // Whoever waits for it hears of its failure.
    done.catch(() => {})
    this.#writes.push({ done, after })
    this.#expected = after
    await this.#awaitWrites(this.#memory.inFlight - 1)
  }

  /** Waits until no more than `count` writes are under way. They count in their order: there are no holes. */
  async #awaitWrites(count: number): Promise<void> {
    for (let [write] = this.#writes; write && this.#writes.length > count; [write] = this.#writes) {
      try {
        await write.done
        this.#held = write.after
        this.#writes.shift()
      } catch (error) {
        // What comes behind a hole is not held. Nor must it come later, in the place of what is written anew.
        await Promise.allSettled(this.#writes.map(({ done }) => done))
        this.#writes.length = 0
        this.#expected = this.#held
        this.#obsolete = []
        throw error
      }
    }
  }

  /** Gathers pieces, and makes groups of parts. */
  async #compact(): Promise<void> {
    for (let pieces = tailToCompact(this.#held); pieces.length > 0; pieces = tailToCompact(this.#held)) {
      const sources = pieces.map(({ name, size }) => ({ key: this.#keyOf(this.#held, name), size }))
      const size = layoutSize(pieces)
      const piece = { name: randomId(), size, level: (pieces[0]?.level ?? 0) + 1 }
      await this.#memory.reserve(size, async () => {
        const bytes = await readAll(this.#service, sources)
        await this.#service.put(this.#keyOf(this.#held, piece.name), [bytes], this.#options)
      })
      this.#obsolete.push(...sources.map(({ key }) => key))
      const others = this.#held.pieces.slice(0, -pieces.length)
      this.#held = { ...this.#held, pieces: [...others, piece] }
    }
    for (let group = nextGroup(this.#held); group; group = nextGroup(this.#held)) {
      const parts = group.of.map(({ key, size }) => ({ key: this.#place + key, size }))
      await this.#service.compose(parts, this.#place + group.key, this.#options)
      this.#obsolete.push(...parts.map(({ key }) => key))
      this.#held = group.after
    }
    this.#expected = this.#held
  }

  #keyOf = ({ epoch }: UploadLayout, name: string): string => this.#place + pieceName(epoch, name)
}

/** As much as a socket gives at once. */
const BlockSize = 64 * 1024

/**
 * Bytes that wait to be written together. They are copied, for the memory of a chunk is the giver's again when he is asked
 * for more; and into blocks, for a chunk may be of a single byte, and would take a hundred for itself.
 */
export class WriteBuffer {
  #blocks: Buffer[] = []
  #size = 0

  /** How many they are. */
  get size(): number {
    return this.#size
  }

  add(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      const at = this.#size % BlockSize
      if (at === 0) this.#blocks.push(Buffer.allocUnsafe(BlockSize))
      const taken = rest.subarray(0, BlockSize - at)
      this.#blocks.at(-1)?.set(taken, at)
      this.#size += taken.length
      rest = rest.subarray(taken.length)
    }
  }

  /** Gives all of them away. */
  drain(): Uint8Array[] {
    const used = (i: number): number => Math.min(BlockSize, this.#size - i * BlockSize)
    const chunks = this.#blocks.map((block, i) => block.subarray(0, used(i)))
    this.#blocks = []
    this.#size = 0
    return chunks
  }
}
