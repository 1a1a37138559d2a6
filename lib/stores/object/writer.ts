import {
  type Part,
  type PartSizes,
  randomId,
  readIntoMemory,
  receivedOf,
  sizeOf,
  type TailObject,
  tailKey,
  tailSources,
  tailToCompact,
  type UploadLayout,
  withPart,
  withTailObject,
} from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { ComposeSource, ObjectService, ServiceOptions } from './service/service.ts'
import { WriteBuffer } from './write-buffer.ts'

/**
 * Parts that may be written between two updates of the session's record. If the node fails, at most these are
 * lost.
 */
const PartsPerCheckpoint = 16

/** Where parts are written. */
export interface PartTarget {
  /**
   * Writes a part.
   * @param number from 1
   * @returns its tag
   */
  put(number: number, chunks: readonly Uint8Array[], options: ServiceOptions): Promise<string>
}

/** The write of one part or object that is in progress, and the layout once it has succeeded. */
interface PendingWrite<Result = unknown> {
  readonly done: Promise<Result>
  readonly after: (before: UploadLayout, result: Result) => UploadLayout
}

export interface WriterSettings {
  readonly service: ObjectService
  /** Prefix of the keys of tail objects. */
  readonly prefix: string
  readonly layout: UploadLayout
  readonly target: PartTarget
  readonly sizes: PartSizes
  readonly memory: MemoryBudget
  /** Ends the writes, because otherwise they would occupy memory as long as the service does not answer. */
  readonly signal?: AbortSignal | undefined
}

/** The bytes behind the parts: those of tail objects, then those in memory. */
export interface PendingBytes {
  readonly tail: readonly ComposeSource[]
  readonly chunks: readonly Uint8Array[]
}

/**
 * Appends bytes to a layout: parts as they fill, several of them at a time, and a rest that is too small for a part as a
 * tail object.
 */
export class Writer {
  readonly #settings: WriterSettings
  readonly #options: ServiceOptions
  /** Bytes at which a part is cut. */
  readonly #limit: number
  /** The layout of the bytes that were written. */
  #layout: UploadLayout
  /** Number of parts, and tail, when all writes in progress have succeeded. */
  #partCount: number
  #tail: readonly TailObject[]
  #received: number
  readonly #writes: PendingWrite[] = []
  readonly #buffer = new WriteBuffer()
  #partsSinceCheckpoint = 0
  /** Keys of objects that are no longer needed once {@link layout} is recorded. */
  #obsolete: string[] = []

  constructor(settings: WriterSettings) {
    const { layout, sizes, signal } = settings
    this.#settings = settings
    this.#options = signal ? { signal } : {}
    this.#limit = sizes.areEqual ? sizes.usual : sizes.usual + sizes.min
    this.#layout = layout
    this.#partCount = layout.parts.length
    this.#tail = layout.tail
    this.#received = receivedOf(layout)
  }

  get layout(): UploadLayout {
    return this.#layout
  }

  /** Number of bytes of the layout when all bytes have been written. */
  get received(): number {
    return this.#received
  }

  /** Whether a part was written, or is being written. */
  get hasParts(): boolean {
    return this.#partCount > 0
  }

  /** Number of bytes behind the parts. */
  get #pendingBytes(): number {
    return sizeOf(this.#tail) + this.#buffer.size
  }

  /**
   * Whether enough parts were written that the layout must be recorded, even if the fragment continues for
   * long.
   */
  get needsCheckpoint(): boolean {
    return this.#partsSinceCheckpoint >= PartsPerCheckpoint
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const { memory, sizes } = this.#settings
    for (const chunk of chunks) {
      let rest = chunk
      while (rest.length > 0) {
        const bytes = rest.subarray(0, Math.max(1, this.#limit - this.#pendingBytes))
        rest = rest.subarray(bytes.length)
        this.#buffer.add(bytes)
        this.#received += bytes.length
        const pending = this.#pendingBytes
        if (pending >= this.#limit) await this.#writePart(sizes.usual)
        else if (this.#buffer.size >= memory.bufferSize(this.#limit)) {
          // Many fragments share the memory.
          if (pending >= sizes.min && !sizes.areEqual) await this.#writePart(pending)
          else await this.#writeTailObject()
        }
      }
    }
  }

  /**
   * Resolves when all bytes are written. If it rejects, {@link layout} has the bytes before the first failed
   * write.
   * @param isEnd whether the file ends here: its last part may have any size
   */
  async flush({ isEnd = false } = {}): Promise<void> {
    const { min, areEqual } = this.#settings.sizes
    const pending = this.#pendingBytes
    const isPart = pending >= min ? isEnd || !areEqual : isEnd && this.hasParts && pending > 0
    if (isPart) await this.#writePart(pending)
    else if (this.#buffer.size > 0) await this.#writeTailObject()
    await this.#awaitWrites(0)
    await this.#compact()
    this.#partsSinceCheckpoint = 0
  }

  /** All bytes of a file without parts, instead of {@link flush}. */
  async takeAll(): Promise<PendingBytes> {
    await this.#awaitWrites(0)
    const { prefix } = this.#settings
    const tail = tailSources(prefix, this.#layout.tail)
    return { tail, chunks: this.#buffer.take() }
  }

  /** Removes the objects that were needed only until {@link layout} was recorded. */
  async removeObsolete(): Promise<void> {
    const keys = this.#obsolete
    this.#obsolete = []
    // Objects that are not removed now are removed with the session, or by a later sweep.
    if (keys.length > 0) await this.#settings.service.remove(keys).catch(() => {})
  }

  /** @param size of the part, with all bytes of the tail */
  async #writePart(size: number): Promise<void> {
    const { service, prefix, target, memory } = this.#settings
    const number = this.#partCount + 1
    const tail = tailSources(prefix, this.#tail)
    const tailBytes = sizeOf(tail)
    const bytes = this.#buffer.take(size - tailBytes)
    this.#partCount = number
    this.#tail = []
    this.#partsSinceCheckpoint += 1
    // The objects of the tail may still be in progress.
    const pending = tail.length > 0 ? this.#writes.map(({ done }) => done) : []
    const write = async (): Promise<string> => {
      if (tail.length === 0) return target.put(number, bytes, this.#options)
      await Promise.all(pending)
      return memory.reserve(tailBytes, this.#options.signal, async () =>
        target.put(
          number,
          [...(await readIntoMemory(service, tail, this.#options)), ...bytes],
          this.#options,
        ),
      )
    }
    this.#obsolete.push(...tail.map(({ key }) => key))
    await this.#addWrite<string>({
      done: write(),
      after: (layout, tag) => withPart(layout, [size, tag] satisfies Part),
    })
  }

  async #writeTailObject(): Promise<void> {
    const { service, prefix } = this.#settings
    const object = { name: randomId(), size: this.#buffer.size, level: 0 }
    const bytes = this.#buffer.take()
    this.#tail = [...this.#tail, object]
    await this.#addWrite({
      done: service.put(tailKey(prefix, object.name), bytes, this.#options),
      after: (layout) => withTailObject(layout, object),
    })
  }

  async #addWrite<Result>(write: PendingWrite<Result>): Promise<void> {
    // The rejection is handled where the write is awaited.
    write.done.catch(() => {})
    this.#writes.push(write as PendingWrite)
    await this.#awaitWrites(this.#settings.memory.maxWrites(this.#limit) - 1)
  }

  /**
   * Waits until at most `count` writes are in progress. They are added to the layout in order, so it has no
   * holes.
   */
  async #awaitWrites(count: number): Promise<void> {
    for (let [write] = this.#writes; write && this.#writes.length > count; [write] = this.#writes) {
      try {
        this.#layout = write.after(this.#layout, await write.done)
        this.#writes.shift()
      } catch (error) {
        // Bytes behind a hole do not count. Their writes must also end now: a late one could replace a part
        // that is written again with the same number.
        await Promise.allSettled(this.#writes.map(({ done }) => done))
        this.#writes.length = 0
        this.#buffer.take()
        this.#partCount = this.#layout.parts.length
        this.#tail = this.#layout.tail
        this.#received = receivedOf(this.#layout)
        this.#obsolete = []
        throw error
      }
    }
  }

  /** Compacts tail objects. */
  async #compact(): Promise<void> {
    const { service, prefix, memory } = this.#settings
    for (let tail = tailToCompact(this.#layout); tail.length > 0; tail = tailToCompact(this.#layout)) {
      const sources = tailSources(prefix, tail)
      const size = sizeOf(tail)
      const object = { name: randomId(), size, level: (tail[0]?.level ?? 0) + 1 }
      await memory.reserve(size, this.#options.signal, async () => {
        const bytes = await readIntoMemory(service, sources, this.#options)
        await service.put(tailKey(prefix, object.name), bytes, this.#options)
      })
      this.#obsolete.push(...sources.map(({ key }) => key))
      this.#layout = { ...this.#layout, tail: [...this.#layout.tail.slice(0, -tail.length), object] }
    }
    this.#tail = this.#layout.tail
  }
}
