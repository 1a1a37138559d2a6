import {
  nextGroup,
  nextPartKey,
  randomId,
  readIntoMemory,
  sizeOf,
  type TailObject,
  tailObjectKey,
  tailToCompact,
  type UploadLayout,
  withPart,
  withTailObject,
} from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { ObjectService, ServiceOptions } from './service/service.ts'

/**
 * Parts that may be written between two updates of the session's record. If the node fails, at most these are
 * lost.
 */
const PartsPerCheckpoint = 16

/** The write of one object that is in progress, and the layout once it has succeeded. */
interface PendingWrite {
  readonly done: Promise<unknown>
  readonly after: UploadLayout
}

/**
 * Appends bytes to a layout: whole parts as they fill, several of them at a time, and the rest as a tail
 * object.
 */
export class Writer {
  readonly #service: ObjectService
  readonly #prefix: string
  readonly #memory: MemoryBudget
  /**
   * The signal ends the writes, because otherwise they would occupy memory as long as the service does not
   * answer.
   */
  readonly #options: ServiceOptions
  /** The layout of the bytes that were written. */
  #layout: UploadLayout
  /** The layout when all writes in progress have succeeded. */
  #expected: UploadLayout
  readonly #writes: PendingWrite[] = []
  readonly #buffer = new WriteBuffer()
  /** Size of the tail of {@link #expected}. */
  #tailBytes: number
  #partsSinceCheckpoint = 0
  /** Keys of objects that are no longer needed once {@link layout} is recorded. */
  #obsolete: string[] = []

  /** @param prefix of the keys of the upload's bytes */
  constructor(
    service: ObjectService,
    prefix: string,
    layout: UploadLayout,
    memory: MemoryBudget,
    { signal }: ServiceOptions,
  ) {
    this.#service = service
    this.#prefix = prefix
    this.#memory = memory
    this.#options = signal ? { signal } : {}
    this.#layout = layout
    this.#expected = layout
    this.#tailBytes = sizeOf(layout.tail)
  }

  /** The layout of the bytes that were written. */
  get layout(): UploadLayout {
    return this.#layout
  }

  /**
   * Whether enough parts were written that the layout must be recorded, even if the fragment continues for
   * long.
   */
  get needsCheckpoint(): boolean {
    return this.#partsSinceCheckpoint >= PartsPerCheckpoint
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const { partSize } = this.#layout
    for (const chunk of chunks) {
      let rest = chunk
      while (rest.length > 0) {
        const bytes = rest.subarray(0, partSize - this.#tailBytes - this.#buffer.size)
        rest = rest.subarray(bytes.length)
        this.#buffer.add(bytes)
        const { size } = this.#buffer
        if (this.#tailBytes + size === partSize) await this.#writePart()
        else if (size >= this.#memory.bufferSize) await this.#writeTailObject()
      }
    }
  }

  /**
   * Resolves when all bytes are written. If it rejects, {@link layout} has the bytes before the first failed
   * write.
   */
  async flush(): Promise<void> {
    if (this.#buffer.size > 0) await this.#writeTailObject()
    await this.#awaitWrites(0)
    await this.#compact()
    this.#partsSinceCheckpoint = 0
  }

  /** Removes the objects that were needed only until {@link layout} was recorded. */
  async removeObsolete(): Promise<void> {
    const keys = this.#obsolete
    this.#obsolete = []
    // Objects that are not removed now are removed with the session.
    if (keys.length > 0) await this.#service.remove(keys).catch(() => {})
  }

  async #writePart(): Promise<void> {
    const before = this.#expected
    const bytes = this.#buffer.drain()
    const tail = this.#tailSources(before, before.tail)
    this.#tailBytes = 0
    this.#partsSinceCheckpoint += 1
    // The objects of the tail may still be in progress.
    const pending = tail.length > 0 ? this.#writes.map(({ done }) => done) : []
    const put = (chunks: readonly Uint8Array[]) =>
      this.#service.put(this.#prefix + nextPartKey(before), chunks, this.#options)
    const write = async (): Promise<void> => {
      await Promise.all(pending)
      if (tail.length === 0) await put(bytes)
      else {
        await this.#memory.reserve(sizeOf(tail), async () =>
          put([await readIntoMemory(this.#service, tail), ...bytes]),
        )
      }
    }
    this.#obsolete.push(...tail.map(({ key }) => key))
    await this.#addWrite(write(), withPart(before))
  }

  async #writeTailObject(): Promise<void> {
    const object = { name: randomId(), size: this.#buffer.size, level: 0 }
    const bytes = this.#buffer.drain()
    this.#tailBytes += object.size
    const write = this.#service.put(this.#tailKey(this.#expected, object.name), bytes, this.#options)
    await this.#addWrite(write, withTailObject(this.#expected, object))
  }

  async #addWrite(done: Promise<unknown>, after: UploadLayout): Promise<void> {
    // The rejection is handled where the write is awaited.
    done.catch(() => {})
    this.#writes.push({ done, after })
    this.#expected = after
    await this.#awaitWrites(this.#memory.maxWrites - 1)
  }

  /**
   * Waits until at most `count` writes are in progress. They are added to the layout in order, so it has no
   * holes.
   */
  async #awaitWrites(count: number): Promise<void> {
    for (let [write] = this.#writes; write && this.#writes.length > count; [write] = this.#writes) {
      try {
        await write.done
        this.#layout = write.after
        this.#writes.shift()
      } catch (error) {
        // Bytes behind a hole do not count. Their writes must also end now: a late one could replace an
        // object that is written again under the same key.
        await Promise.allSettled(this.#writes.map(({ done }) => done))
        this.#writes.length = 0
        this.#expected = this.#layout
        this.#obsolete = []
        throw error
      }
    }
  }

  /** Compacts tail objects, and composes groups of parts. */
  async #compact(): Promise<void> {
    for (let tail = tailToCompact(this.#layout); tail.length > 0; tail = tailToCompact(this.#layout)) {
      const sources = this.#tailSources(this.#layout, tail)
      const size = sizeOf(tail)
      const object = { name: randomId(), size, level: (tail[0]?.level ?? 0) + 1 }
      await this.#memory.reserve(size, async () => {
        const bytes = await readIntoMemory(this.#service, sources)
        await this.#service.put(this.#tailKey(this.#layout, object.name), [bytes], this.#options)
      })
      this.#obsolete.push(...sources.map(({ key }) => key))
      this.#layout = { ...this.#layout, tail: [...this.#layout.tail.slice(0, -tail.length), object] }
    }
    for (let group = nextGroup(this.#layout); group; group = nextGroup(this.#layout)) {
      const parts = group.sources.map(({ key, size }) => ({ key: this.#prefix + key, size }))
      await this.#service.compose(parts, this.#prefix + group.key, this.#options)
      this.#obsolete.push(...parts.map(({ key }) => key))
      this.#layout = group.after
    }
    this.#expected = this.#layout
  }

  #tailSources(layout: UploadLayout, tail: readonly TailObject[]): { key: string; size: number }[] {
    return tail.map(({ name, size }) => ({ key: this.#tailKey(layout, name), size }))
  }

  #tailKey({ epoch }: UploadLayout, name: string): string {
    return this.#prefix + tailObjectKey(epoch, name)
  }
}

/** Block size in bytes: the largest chunk of a socket. */
const BlockSize = 64 * 1024

/**
 * Bytes that are collected for one write. They are copied, because the memory of a chunk belongs to the body
 * again when the next batch is requested; and into blocks, because a chunk may have a single byte, and each
 * Buffer takes about a hundred bytes.
 */
export class WriteBuffer {
  #blocks: Buffer[] = []
  #size = 0

  /** Number of bytes. */
  get size(): number {
    return this.#size
  }

  add(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      const offset = this.#size % BlockSize
      if (offset === 0) this.#blocks.push(Buffer.allocUnsafe(BlockSize))
      const copied = rest.subarray(0, BlockSize - offset)
      this.#blocks.at(-1)?.set(copied, offset)
      this.#size += copied.length
      rest = rest.subarray(copied.length)
    }
  }

  /** Returns all bytes and empties the buffer. */
  drain(): Uint8Array[] {
    const used = (i: number): number => Math.min(BlockSize, this.#size - i * BlockSize)
    const chunks = this.#blocks.map((block, i) => block.subarray(0, used(i)))
    this.#blocks = []
    this.#size = 0
    return chunks
  }
}
