/**
 * A model of the protocol in lib/stores/object/README.md: several nodes, one name, and one or two sessions that upload a
 * file to it. `explore` goes through all orders of all requests to the service, and checks the promises of that page in
 * every state: see {@link Violation}.
 *
 * A node is a program that sends requests to the service, one after the other (`Packet`). Its state is the list of the
 * answers so far: to find its next request, the program runs again from its start with these answers. So the programs
 * read like the code of a store.
 *
 * A request is carried out in one step, because the service does so. Before that step the node can crash, or give the
 * request up and live on; the request is then carried out at any later time, or never. The answer to a request that was
 * carried out can be lost. The client can repeat its packet at any node at any time, while the first one is still in
 * progress there; it hears only the answer to its last packet.
 *
 * A file has two units. A fragment goes from the offset of the client to the end of the file, and can be interrupted
 * after a unit. The service stores not bytes but the range of units that they are, so wrong bytes are seen.
 */

export type Violation =
  /** Acknowledged bytes are not held any more, for no reason that the page names. */
  | 'lost bytes'
  /** A file was published that is not the file of the client. */
  | 'wrong bytes'
  /** A file was published again, although its first copy is still there, or no node failed while it published it. */
  | 'published twice'
  /** A file replaced the file of another session: without `overwrite`, or a file that it had not seen. */
  | 'replaced a file'
  /** A file was published after the client had the Ack of Cancel-Session, although no node failed. */
  | 'published after cancel'
  /** The client has the Ack of its last byte, and the file was not published. */
  | 'false success'
  /** The client is refused because of its own file. */
  | 'refused by itself'
  /** `onUpload` runs twice at once. */
  | 'hook twice'
  /** The client learns that there is no session, and nothing has ended it. */
  | 'session lost'
  /** All nodes fail, and the client cannot finish at another one. */
  | 'stuck'
  /** All sessions have expired, and the sweeps have left something. */
  | 'left behind'

/** What can happen in a model. */
interface Setting {
  /**
   * - `small`: the file fits in one request
   * - `s3`: the file is a multipart upload
   * - `s3 kms`: the same; the same bytes have another ETag each time
   * - `ceph`: S3 that ignores the condition of CompleteMultipartUpload
   * - `azure`: the file is a list of blocks
   */
  readonly service: 'small' | 's3' | 's3 kms' | 'ceph' | 'azure'
  readonly nodes: number
  /** For each session, how many packets its client sends. */
  readonly packets: readonly number[]
  /** Whether there is a hook `onUpload`, which does not read the bytes. */
  readonly hook?: boolean
  readonly overwrite?: boolean
  /** How many nodes crash. */
  readonly crashes?: number
  /** How many requests of nodes that do not crash are given up, or have a lost answer. */
  readonly failures?: number
  /** Whether fragments can be interrupted after the first unit. */
  readonly interrupts?: boolean
  /** Whether nodes keep the record that they read or wrote last for the next packet. */
  readonly caches?: boolean
  /** How often a consumer removes the published file. */
  readonly consumers?: number
  /** Whether the client of the first session may cancel it. */
  readonly cancels?: boolean
  /** How many sweeps regard the first session as expired. */
  readonly expirations?: number
  /** How often another program aborts a multipart upload, or the service discards uncommitted blocks. */
  readonly aborts?: number
  /** Whether a node may stop for so long that other nodes acquire its lease, and then continue. */
  readonly freezes?: boolean
  /** Violations that are not looked for. */
  readonly allows?: readonly Violation[]
  /** Units of a file; default: 2. */
  readonly units?: number
  /**
   * How the first session begins. Default: without a byte.
   * - `part`: the record has a multipart upload with one part, which the client knows
   * - `strays`: the session has ended, and an upload of which its record does not have the id was left
   */
  readonly begins?: 'part' | 'strays'
}

export interface Variant extends Setting {
  readonly mutant?: Mutant | undefined
}

/** A setting with two nodes and one session. */
const two = { nodes: 2, packets: [2] } as const
/** One of three units is held. */
const threeUnits = {
  nodes: 2,
  packets: [2],
  service: 's3',
  interrupts: true,
  units: 3,
  begins: 'part',
} as const
/** A sweep removes what the first session has left, while the second one uploads. */
const strays = {
  nodes: 2,
  packets: [0, 1],
  service: 's3',
  begins: 'strays',
  expirations: 1,
  interrupts: true,
} as const

/** Faults that the protocol could have, the violation that each of them causes, and a setting that shows it. */
export const mutants = {
  'updates the record without a condition': [
    'lost bytes',
    { ...two, service: 'small', interrupts: true, failures: 1 },
  ],
  'acknowledges before the record is written': ['lost bytes', { ...two, service: 's3', interrupts: true }],
  'completes whatever parts the service has': ['wrong bytes', threeUnits],
  'does not reset a session whose part was overwritten': ['stuck', threeUnits],
  'takes a missing tail object for a loss': ['lost bytes', { ...threeUnits, packets: [3], hook: true }],
  'does not reset a session whose upload is missing': ['stuck', { ...two, service: 's3', aborts: 1 }],
  'takes a missing upload for a published one': ['false success', { ...two, service: 's3', aborts: 1 }],
  'publishes without a condition': ['replaced a file', { ...two, service: 's3', packets: [1, 1] }],
  'publishes without a condition, with overwrite': [
    'published twice',
    { ...two, service: 'small', overwrite: true, crashes: 1 },
  ],
  'resets a session without the wait': [
    'published twice',
    { ...two, service: 's3', packets: [3], consumers: 1 },
  ],
  'commits blocks of which the record has none': [
    'published twice',
    { ...two, service: 'azure', consumers: 1 },
  ],
  'does not recognize its own file': ['refused by itself', { ...two, service: 'small', crashes: 1 }],
  'does not record a publication when the record has changed': [
    'published twice',
    { ...threeUnits, consumers: 1 },
  ],
  'publishes a small file without the lease': ['published twice', { ...two, service: 'small', consumers: 1 }],
  'does not check the lease': ['hook twice', { ...two, service: 's3', hook: true }],
  'takes the lease of a node that renews it': ['hook twice', { ...two, service: 's3', hook: true }],
  'never takes the lease of another node': ['stuck', { ...two, service: 'small', crashes: 1 }],
  'completes without a claim': ['replaced a file', { ...two, service: 'ceph', packets: [1, 1] }],
  'takes the claim of a session that is not finished': [
    'replaced a file',
    { ...two, service: 'ceph', packets: [1, 1] },
  ],
  'removes tail objects before the record is written': [
    'lost bytes',
    { ...two, service: 's3', interrupts: true, crashes: 1 },
  ],
  'removes the record before the upload is aborted': [
    'left behind',
    { ...two, service: 's3', expirations: 1, crashes: 1 },
  ],
  'aborts the upload before the record is marked': [
    'lost bytes',
    { ...two, service: 's3', expirations: 1, interrupts: true },
  ],
  'creates an upload before the record says so': ['left behind', { ...two, service: 's3', crashes: 1 }],
  'forgets that an upload may have been created': ['left behind', { ...two, service: 's3', crashes: 1 }],
  'forgets that a request was repeated': ['left behind', { ...two, service: 's3', failures: 1 }],
  'forgets an upload that another node started again': [
    'left behind',
    { ...two, service: 's3', packets: [3], consumers: 1, freezes: true, allows: ['published twice'] },
  ],
  'removes strays before a day has passed': [
    'left behind',
    { ...two, service: 's3', expirations: 2, crashes: 1 },
  ],
  'aborts young uploads that no record has': ['lost bytes', strays],
  'aborts old uploads of other sessions': ['lost bytes', strays],
  'numbers blocks by their place': [
    'wrong bytes',
    { ...two, service: 'azure', packets: [3], interrupts: true, units: 3 },
  ],
  'uses the blocks of an earlier attempt again': [
    'published twice',
    { ...two, service: 'azure', consumers: 1 },
  ],
} as const satisfies Record<string, readonly [Violation, Setting]>

export type Mutant = keyof typeof mutants

/** A range of units of a session, as stored bytes. */
type Content = string
const contentOf = (session: number, from: number, to: number): Content => `${session}:${from}-${to}`
const isFile = (contents: readonly Content[], session: number, units: number): boolean => {
  let end = 0
  for (const content of contents) {
    const [, of, from, to] = /^(\d):(\d)-(\d)/.exec(content) ?? []
    if (Number(of) !== session || Number(from) !== end) return false
    end = Number(to)
  }
  return end === units
}

/** A part in the record: its last unit, and its ETag or block id. */
interface Part {
  readonly to: number
  readonly tag: string
}

/** The record of a session. */
interface SessionState {
  /** The id of the multipart upload. `starting`: it is about to be created. */
  readonly upload?: number | 'starting' | undefined
  readonly parts: readonly Part[]
  /** The tail object, behind the parts. */
  readonly tail?: { readonly key: string; readonly to: number } | undefined
  /** Units of a small file, in the record. */
  readonly inline: number
  /** There may be multipart uploads whose ids are not known. */
  readonly strays?: boolean | undefined
  /** The packet that runs the hook, or writes a small file. */
  readonly lease?: number | undefined
  readonly accepted?: boolean | undefined
  readonly published?: boolean | undefined
  readonly removed?: boolean | undefined
}
interface SavedRecord extends SessionState {
  readonly version: number
}

const receivedOf = ({ parts, tail, inline }: SessionState): number => tail?.to ?? parts.at(-1)?.to ?? inline
const partsEnd = ({ parts }: SessionState): number => parts.at(-1)?.to ?? 0

type Condition = 'absent' | number | undefined
type PublishAnswer = 'ok' | 'exists' | 'invalid part' | 'no upload'

/** Requests to the service; `wait`, `hook` and `isDayOld` are waits of a node. */
type Request =
  | {
      readonly op: 'get' | 'delete record' | 'create upload' | 'put tail' | 'remove tails' | 'head' | 'claim'
    }
  | { readonly op: 'get others' | 'list uploads' | 'hook' | 'is day old' }
  | { readonly op: 'update'; readonly version: number; readonly next: SessionState }
  | { readonly op: 'put part'; readonly id: number; readonly number: number }
  | { readonly op: 'list parts' | 'abort'; readonly id: number }
  | {
      readonly op: 'complete'
      readonly id: number
      readonly tags: readonly string[]
      readonly condition: Condition
    }
  | { readonly op: 'get tail' | 'remove tail'; readonly key: string }
  | { readonly op: 'put file'; readonly condition: Condition }
  | { readonly op: 'put block'; readonly number: number }
  | { readonly op: 'commit'; readonly ids: readonly string[]; readonly condition: Condition }
  /** A lease of 0: of a node that publishes. */
  | { readonly op: 'wait'; readonly lease: number; readonly version: number }
  | { readonly op: 'choose'; readonly count: number }

const publishing: ReadonlySet<string> = new Set(['complete', 'put file', 'commit'])
const reading: ReadonlySet<string> = new Set([
  'get', 'get tail', 'head', 'get others', 'list uploads', 'list parts', 'is day old', 'wait', 'choose', 'hook',
]) // biome-ignore format: short

/** The answer to a packet. */
type Ack =
  | { readonly status: 'ok' | 'range'; readonly received: number }
  | { readonly status: 'removed' | 'gone' | 'exists' | 'busy' }

type Kind = 'fragment' | 'close' | 'cancel' | 'expire' | 'strays'

/** A packet, or a sweep, that a node works on. */
interface Task {
  readonly session: number
  readonly kind: Kind
  /** Of a fragment: the offset of its first unit. */
  readonly first: number
  /** Unique among the tasks. */
  readonly token: number
  /** Whether the client waits for its Ack. */
  readonly isCurrent: boolean
  /** The record in the cache of the node. */
  readonly cached: SavedRecord | undefined
  readonly answers: readonly unknown[]
}

interface Node {
  readonly isAlive: boolean
  readonly task: Task | undefined
  readonly cache: readonly (SavedRecord | undefined)[]
}

interface Client {
  readonly state: 'uploading' | 'done' | 'closed' | 'cancelling' | 'cancelled' | 'refused' | 'gone'
  readonly packets: number
  readonly offset: number
  readonly acknowledged: number
}

/** What has happened to a session, which only the properties look at. */
interface History {
  readonly published: number
  /** The file was published, and the consumer has removed it since. */
  readonly isConsumed: boolean
  /** A node failed from when it sent the request that publishes to when the record was updated. */
  readonly publisherFailed: boolean
  /** Bytes were lost by a cause that the page names. */
  readonly hasLostBytes: boolean
  readonly isEnded: boolean
}

interface Upload {
  readonly id: number
  readonly session: number
  /** The task that created it. */
  readonly creator: number
  readonly parts: readonly (string | undefined)[]
}

/** A request of a node that has crashed, or has given it up. */
interface LateRequest {
  readonly session: number
  readonly token: number
  readonly request: Request
  readonly content: Content
}

interface World {
  readonly nodes: readonly Node[]
  readonly clients: readonly Client[]
  readonly records: readonly (SavedRecord | undefined)[]
  readonly uploads: readonly Upload[]
  readonly tails: readonly { readonly key: string; readonly session: number }[]
  readonly blocks: readonly { readonly id: string; readonly content: Content }[]
  readonly file: { readonly session: number; readonly version: number } | undefined
  readonly claim: number | undefined
  readonly late: readonly LateRequest[]
  readonly history: readonly History[]
  readonly left: { crashes: number; failures: number; consumers: number; expirations: number; aborts: number }
  readonly counter: number
  readonly violation?: Violation | undefined
}

/** Thrown when a program needs an answer that it does not have yet. */
class Pending {
  readonly request: Request
  readonly content: Content
  constructor(request: Request, content: Content) {
    this.request = request
    this.content = content
  }
}

/** The program of a node: what a packet, or a sweep, does. */
class Packet {
  readonly #variant: Variant
  readonly #units: number
  readonly #task: Task
  #next = 0
  #retries = 0
  /** The record that the node caches afterwards. */
  cache: SavedRecord | undefined
  isInHook = false
  /** Whether it sends, or has sent, the request that has published the file. */
  publishes = false

  readonly #send: (request: Request, content: Content) => unknown

  /** @param send sends a request of which the task does not have the answer, or throws */
  constructor(variant: Variant, task: Task, send: (request: Request, content: Content) => unknown) {
    this.#variant = variant
    this.#units = variant.units ?? 2
    this.#task = task
    this.#send = send
  }

  run(): Ack {
    switch (this.#task.kind) {
      case 'fragment':
        return this.#fragment()
      case 'strays':
        return this.#removeStrays()
      default:
        return this.#end()
    }
  }

  #is(mutant: Mutant): boolean {
    return this.#variant.mutant === mutant
  }

  #call<Answer>(request: Request, content: Content = ''): Answer {
    const publishes = publishing.has(request.op)
    if (publishes) this.publishes = true
    const { answers } = this.#task
    const answer = this.#next < answers.length ? answers[this.#next] : this.#send(request, content)
    this.#next += 1
    if (publishes) this.publishes = answer === 'ok'
    return answer as Answer
  }

  #get(): SavedRecord | undefined {
    this.cache = this.#call<SavedRecord | undefined>({ op: 'get' })
    return this.cache
  }

  /** One conditional write of the record; undefined if another node has written it. */
  #update(record: SavedRecord, changes: Partial<SessionState>): SavedRecord | undefined {
    const { version, ...state } = record
    const next = { ...state, ...changes }
    const written = this.#call<{ readonly version: number } | undefined>({ op: 'update', version, next })
    this.cache = written && { ...next, version: written.version }
    return this.cache
  }

  #fragment(): Ack {
    const { cached, first } = this.#task
    let record = cached ?? this.#get()
    // A record of the cache may be old: it is good for a write, which then fails, but not for an error.
    if (cached && (first > receivedOf(cached) || cached.removed)) record = this.#get()
    if (!record || record.removed) return { status: 'gone' }
    if (record.published) return { status: 'ok', received: this.#units }
    if (first > receivedOf(record)) return { status: 'range', received: receivedOf(record) }
    return receivedOf(record) === this.#units ? this.#complete(record) : this.#append(record)
  }

  /** Another node has written the record, while this one had bytes up to `to`. */
  #reload(to: number): Ack {
    const record = this.#get()
    if (!record || record.removed) return { status: 'gone' }
    if (record.published) return { status: 'ok', received: this.#units }
    const received = receivedOf(record)
    if (received === this.#units) return this.#complete(record)
    return { status: received >= to ? 'ok' : 'range', received }
  }

  #append(record: SavedRecord): Ack {
    const { service, interrupts } = this.#variant
    const start = receivedOf(record)
    const how =
      interrupts && this.#units - start > 1
        ? this.#call<number>({ op: 'choose', count: service === 'small' ? 2 : 3 })
        : 0
    const to = how === 0 ? this.#units : start + 1
    if (service === 'small') return this.#appendSmall(record, to)
    const early = this.#is('acknowledges before the record is written')
    if (how === 1) return early ? { status: 'ok', received: to } : this.#appendTail(record, to)
    return service === 'azure' ? this.#appendBlock(record, to) : this.#appendPart(record, to)
  }

  #appendSmall(record: SavedRecord, to: number): Ack {
    const { hook } = this.#variant
    if (to === this.#units && !hook) {
      if (this.#is('publishes a small file without the lease')) return this.#publishSmall(record)
      return this.#withLease(record, {}, (leased) => this.#publishSmall(leased))
    }
    if (to === this.#units) return this.#withLease(record, { inline: to }, (leased) => this.#runHook(leased))
    const next = this.#update(record, { inline: to })
    return next ? { status: 'ok', received: to } : this.#reload(to)
  }

  #appendTail(record: SavedRecord, to: number): Ack {
    if (!this.#readTail(record)) return this.#tailMissing(record, to)
    const { tail } = record
    const key = this.#call<string>({ op: 'put tail' }, contentOf(this.#task.session, partsEnd(record), to))
    const next = this.#update(record, { tail: { key, to } })
    if (!next) return this.#reload(to)
    if (tail) this.#call({ op: 'remove tail', key: tail.key })
    return { status: 'ok', received: to }
  }

  /** Reads the tail object, whose bytes are rewritten together with those that follow. */
  #readTail({ tail }: SavedRecord): boolean {
    return !tail || this.#call<boolean>({ op: 'get tail', key: tail.key })
  }

  /** Another node has written these bytes with those that follow, and has removed the object; or bytes are lost. */
  #tailMissing(record: SavedRecord, to: number): Ack {
    if (!this.#is('takes a missing tail object for a loss')) {
      const current = this.#get()
      if (current?.version !== record.version) return this.#reload(to)
    }
    const next = this.#update(
      this.#is('takes a missing tail object for a loss') ? (this.#get() ?? record) : record,
      {
        parts: [],
        tail: undefined,
      },
    )
    return next ? { status: 'range', received: 0 } : this.#reload(to)
  }

  #appendPart(before: SavedRecord, to: number): Ack {
    let record = before
    if (!this.#readTail(record)) return this.#tailMissing(record, to)
    let id: number
    let strays: boolean | undefined
    if (typeof record.upload === 'number') id = record.upload
    else {
      // The record says first that an upload may exist. A second node that finds this notes that there may be two.
      if (!this.#is('creates an upload before the record says so')) {
        const isSecond =
          record.upload === 'starting' && !this.#is('forgets that an upload may have been created')
        const started = this.#update(record, { upload: 'starting', strays: isSecond || record.strays })
        if (!started) return this.#reload(to)
        record = started
      }
      const created = this.#call<{ id: number; isRepeated: boolean }>({ op: 'create upload' })
      id = created.id
      // The SDK has sent the request twice, and the first one may have created an upload, too.
      if (created.isRepeated && !this.#is('forgets that a request was repeated')) strays = true
    }
    const content = contentOf(this.#task.session, partsEnd(record), to)
    const number = record.parts.length
    const tag = this.#call<string | undefined>({ op: 'put part', id, number }, content)
    if (tag === undefined) return this.#uploadMissing(record)
    const parts = [...record.parts, { to, tag }]
    const { tail } = record
    if (tail && this.#is('removes tail objects before the record is written')) {
      this.#call({ op: 'remove tail', key: tail.key })
    }
    if (to === this.#units && !this.#variant.hook && record.parts.length > 0) {
      return this.#publishParts(record, parts)
    }
    const change = { upload: id, parts, tail: undefined, strays: strays ?? record.strays }
    const finish = (next: SavedRecord): SavedRecord => {
      if (tail) this.#call({ op: 'remove tail', key: tail.key })
      return next
    }
    if (to === this.#units && this.#variant.hook) {
      return this.#withLease(record, change, (leased) => this.#runHook(finish(leased)))
    }
    const next = this.#update(record, change)
    if (next) {
      finish(next)
      return to === this.#units ? this.#publishParts(next, next.parts) : { status: 'ok', received: to }
    }
    // The upload that this node has created is not in the record.
    if (record.upload !== id) this.#call({ op: 'abort', id })
    else {
      // It may have overwritten a part of the record.
      const current = this.#get()
      const other = current?.upload === id ? current.parts[number] : undefined
      if (current && other && other.tag !== tag) return this.#dropOverwrittenParts(current, current.parts)
    }
    return this.#reload(to)
  }

  #appendBlock(record: SavedRecord, to: number): Ack {
    if (!this.#readTail(record)) return this.#tailMissing(record, to)
    const { session } = this.#task
    const content = contentOf(session, partsEnd(record), to)
    const id = this.#call<string>({ op: 'put block', number: record.parts.length }, content)
    const parts = [...record.parts, { to, tag: id }]
    const isRecorded = record.parts.length > 0 || this.#is('commits blocks of which the record has none')
    if (to === this.#units && !this.#variant.hook && isRecorded) return this.#publishParts(record, parts)
    const { tail } = record
    const change = { parts, tail: undefined }
    const finish = (next: SavedRecord): SavedRecord => {
      if (tail) this.#call({ op: 'remove tail', key: tail.key })
      return next
    }
    if (to === this.#units) return this.#withLease(record, change, (leased) => this.#runHook(finish(leased)))
    const next = this.#update(record, change)
    if (!next) return this.#reload(to)
    finish(next)
    return to === this.#units ? this.#publishParts(next, next.parts) : { status: 'ok', received: to }
  }

  /** All units are in the record, and nothing is published. */
  #complete(record: SavedRecord): Ack {
    const isSmall = this.#variant.service === 'small'
    if (this.#variant.hook && !record.accepted)
      return this.#withLease(record, {}, (leased) => this.#runHook(leased))
    if (!isSmall) return this.#publishParts(record, record.parts)
    return this.#withLease(record, {}, (leased) => this.#publishSmall(leased))
  }

  /** Acquires the lease by an update of the record, together with other changes. */
  #withLease(before: SavedRecord, changes: Partial<SessionState>, then: (record: SavedRecord) => Ack): Ack {
    let record: SavedRecord | undefined = before
    const { token: lease } = this.#task
    const { hook } = this.#variant
    const ignores = this.#is('does not check the lease')
    if (record.lease !== undefined && record.lease !== lease && !ignores) {
      const { lease: other, version } = record
      const changed = this.#call<boolean>({ op: 'wait', lease: other, version })
      if (changed) return this.#again(this.#units)
    }
    const next = this.#update(record, { ...changes, lease })
    if (!next) return this.#again(receivedOf({ ...record, ...changes }))
    record = next
    this.isInHook = hook === true && !record.accepted
    return then(record)
  }

  #again(to: number): Ack {
    if (this.#retries === 2) return { status: 'busy' }
    this.#retries += 1
    return this.#reload(to)
  }

  #runHook(record: SavedRecord): Ack {
    this.#call({ op: 'hook' })
    // The hook still runs while its lease is renewed.
    let current = record
    if (this.#call<number>({ op: 'choose', count: 2 }) === 1) {
      const renewed = this.#update(current, {})
      if (!renewed) {
        this.isInHook = false
        return { status: 'busy' }
      }
      current = renewed
    }
    this.isInHook = false
    const isSmall = this.#variant.service === 'small'
    const accepted = this.#update(current, { accepted: true, ...(!isSmall && { lease: undefined }) })
    if (!accepted) return this.#again(this.#units)
    return isSmall ? this.#publishSmall(accepted) : this.#publishParts(accepted, accepted.parts)
  }

  /** The condition of the request that publishes: undefined if the name is taken. */
  #condition(): Condition | 'taken' | 'own' {
    if (!this.#variant.overwrite) return 'absent'
    const found = this.#call<World['file']>({ op: 'head' })
    if (!found) return 'absent'
    return found.session === this.#task.session ? 'own' : found.version
  }

  #publishSmall(record: SavedRecord): Ack {
    const condition = this.#condition()
    if (condition === 'own') return this.#recordPublished(record)
    const content = contentOf(this.#task.session, 0, this.#units)
    const answer = this.#call<PublishAnswer>({ op: 'put file', condition: condition as Condition }, content)
    return answer === 'ok' ? this.#recordPublished(record) : this.#nameTaken(record)
  }

  #publishParts(record: SavedRecord, parts: readonly Part[]): Ack {
    const { service } = this.#variant
    if (service === 'ceph' && !this.#is('completes without a claim')) {
      const isClaimed = this.#call<boolean>({ op: 'claim' })
      if (!isClaimed) return this.#recordParts(record, parts)
      const found = this.#call<World['file']>({ op: 'head' })
      if (found?.session === this.#task.session) return this.#recordPublished(record)
      if (found && !this.#variant.overwrite) return { status: 'exists' }
    }
    const condition = this.#condition()
    if (condition === 'own') return this.#recordPublished(record)
    const tags = parts.map(({ tag }) => tag)
    const answer = this.#call<PublishAnswer>(
      service === 'azure'
        ? { op: 'commit', ids: tags, condition: condition as Condition }
        : { op: 'complete', id: record.upload as number, tags, condition: condition as Condition },
    )
    if (answer === 'ok') return this.#recordPublished(record)
    if (answer === 'exists') return this.#nameTaken(record)
    return answer === 'no upload' || service === 'azure'
      ? this.#uploadMissing(record)
      : this.#dropOverwrittenParts(record, parts)
  }

  /** The name is claimed by another session, so the client must try again later. */
  #recordParts(record: SavedRecord, parts: readonly Part[]): Ack {
    if (record.parts !== parts) this.#update(record, { parts, tail: undefined })
    return { status: 'busy' }
  }

  #nameTaken(record: SavedRecord): Ack {
    const found = this.#call<World['file']>({ op: 'head' })
    if (found?.session === this.#task.session && !this.#is('does not recognize its own file')) {
      return this.#recordPublished(record)
    }
    return { status: found && !this.#variant.overwrite ? 'exists' : 'busy' }
  }

  /** Some parts of the record were overwritten. The bytes before the first of them count. */
  #dropOverwrittenParts(record: SavedRecord, parts: readonly Part[]): Ack {
    if (this.#is('does not reset a session whose part was overwritten')) return { status: 'busy' }
    const tags = this.#call<readonly string[] | undefined>({ op: 'list parts', id: record.upload as number })
    if (!tags) return this.#uploadMissing(record)
    const end = parts.findIndex(({ tag }, i) => tags[i] !== tag)
    if (end < 0) return this.#again(this.#units)
    const kept = parts.slice(0, end)
    const next = this.#update(record, { parts: kept, tail: undefined, accepted: undefined })
    return next ? { status: 'range', received: receivedOf(next) } : this.#reload(this.#units)
  }

  /** The multipart upload does not exist, or some blocks: the file was published, or the upload was aborted. */
  #uploadMissing(record: SavedRecord): Ack {
    const found = this.#call<World['file']>({ op: 'head' })
    if (found?.session === this.#task.session || this.#is('takes a missing upload for a published one')) {
      return this.#recordPublished(record)
    }
    if (this.#is('does not reset a session whose upload is missing')) return { status: 'busy' }
    // Another node may have published the file, and is about to write the record.
    if (!this.#is('resets a session without the wait')) {
      if (this.#call<boolean>({ op: 'wait', lease: 0, version: record.version }))
        return this.#again(this.#units)
    }
    const change = { upload: undefined, parts: [], tail: undefined, inline: 0, accepted: undefined }
    const next = this.#update(record, change)
    return next ? { status: 'range', received: 0 } : this.#reload(this.#units)
  }

  /** Writes that the file was published, also if another node has written the record meanwhile. */
  #recordPublished(before: SavedRecord): Ack {
    let record: SavedRecord | undefined = before
    for (let attempt = 0; attempt < 3; attempt++) {
      const completed = before.upload
      // Another node may have started again, before it saw that the file is published.
      const upload =
        record.upload === completed || this.#is('forgets an upload that another node started again')
          ? undefined
          : record.upload
      const done = this.#update(record, {
        published: true,
        upload,
        parts: [],
        tail: undefined,
        lease: undefined,
      })
      if (done) {
        if (record.tail) this.#call({ op: 'remove tail', key: record.tail.key })
        return { status: 'ok', received: this.#units }
      }
      if (this.#is('does not record a publication when the record has changed')) return { status: 'busy' }
      record = this.#get()
      if (!record || record.removed || record.published) return { status: 'ok', received: this.#units }
    }
    return { status: 'busy' }
  }

  /** Close-Session, Cancel-Session, and the expiry of a session. */
  #end(): Ack {
    let record = this.#task.cached ?? this.#get()
    for (let attempt = 0; attempt < 3; attempt++) {
      if (!record) return { status: 'removed' }
      // Objects that it does not name are removed by a sweep, because their session has no record.
      if (record.published && record.upload === undefined && !record.strays) {
        this.#call({ op: 'delete record' })
        this.cache = undefined
        return { status: 'removed' }
      }
      if (record.lease !== undefined && !record.removed) {
        // A sweep, Close-Session and Cancel-Session wait for a hook.
        const changed: boolean = this.#call({ op: 'wait', lease: record.lease, version: record.version })
        if (changed) {
          record = this.#get()
          continue
        }
      }
      const early = this.#is('aborts the upload before the record is marked')
      if (early && typeof record.upload === 'number') this.#call({ op: 'abort', id: record.upload })
      const marked: SavedRecord | undefined = record.removed
        ? record
        : this.#update(record, { removed: true, lease: undefined })
      if (marked) return this.#removeAll(marked)
      record = this.#get()
    }
    return { status: 'busy' }
  }

  #removeAll(record: SavedRecord): Ack {
    const first = this.#is('removes the record before the upload is aborted')
    if (first) this.#call({ op: 'delete record' })
    if (typeof record.upload === 'number') this.#call({ op: 'abort', id: record.upload })
    this.#call({ op: 'remove tails' })
    const mayHaveStrays = record.strays || record.upload === 'starting'
    const forgets = this.#is('forgets that an upload may have been created')
    if (!first && (!mayHaveStrays || forgets)) this.#call({ op: 'delete record' })
    this.cache = undefined
    return { status: 'removed' }
  }

  /** A sweep removes uploads that no record has, a day after the session ended. */
  #removeStrays(): Ack {
    const record = this.#get()
    this.cache = undefined
    if (!record?.removed) return { status: 'removed' }
    if (!this.#is('removes strays before a day has passed')) this.#call({ op: 'is day old' })
    const ids = this.#call<readonly number[]>({ op: 'list uploads' })
    const known = this.#is('aborts old uploads of other sessions')
      ? []
      : this.#call<readonly (number | undefined)[]>({ op: 'get others' })
    for (const id of ids) if (!known.includes(id)) this.#call({ op: 'abort', id })
    this.#call({ op: 'delete record' })
    return { status: 'removed' }
  }
}

/** What the program of a task does next. */
interface Outcome {
  readonly request?: Request
  readonly content: Content
  readonly ack?: Ack
  readonly cache: SavedRecord | undefined
  readonly isInHook: boolean
  /** Whether it has sent a request that publishes, or is about to. */
  readonly publishes: boolean
}

interface Step {
  readonly name: string
  readonly next: World
}

class Model {
  readonly #variant: Variant
  readonly #units: number
  readonly #outcomes = new WeakMap<Task, Outcome>()
  readonly #finished = new Map<string, Violation | undefined>()

  constructor(variant: Variant) {
    this.#variant = variant
    this.#units = variant.units ?? 2
  }

  #is(mutant: Mutant): boolean {
    return this.#variant.mutant === mutant
  }

  initial(): World {
    const {
      nodes,
      packets,
      crashes = 0,
      failures = 0,
      consumers = 0,
      expirations = 0,
      aborts = 0,
    } = this.#variant
    const tag = contentOf(0, 0, 1)
    const upload = { id: 0, session: 0, creator: 0, parts: [tag] }
    const empty: SessionState = { parts: [], inline: 0 }
    const states: Record<NonNullable<Setting['begins']>, SessionState> = {
      part: { ...empty, upload: 0, parts: [{ to: 1, tag }] },
      strays: { ...empty, upload: 'starting', removed: true },
    }
    const { begins } = this.#variant
    const acknowledged = (session: number): number => (begins === 'part' && session === 0 ? 1 : 0)
    return {
      nodes: Array.from({ length: nodes }, () => ({ isAlive: true, task: undefined, cache: [] })),
      clients: packets.map((count, session) => ({
        state: begins === 'strays' && session === 0 ? 'gone' : 'uploading',
        packets: count,
        offset: acknowledged(session),
        acknowledged: acknowledged(session),
      })),
      records: packets.map((_, session) => ({
        ...(begins && session === 0 ? states[begins] : empty),
        version: session,
      })),
      uploads: begins ? [upload] : [],
      tails: [],
      blocks: [],
      file: undefined,
      claim: undefined,
      late: [],
      history: packets.map((_, session) => ({
        published: 0,
        isConsumed: false,
        publisherFailed: false,
        hasLostBytes: false,
        isEnded: begins === 'strays' && session === 0,
      })),
      left: { crashes, failures, consumers, expirations, aborts },
      counter: packets.length,
    }
  }

  /** All steps that are possible in a state. */
  steps(world: World): Step[] {
    const steps: Step[] = []
    const add = (name: string, next: World): void => void steps.push({ name, next })
    world.nodes.forEach((node, n) => {
      if (!node.isAlive) return
      if (node.task) this.#proceed(world, n, node.task, add)
      else this.#start(world, n, node, add)
    })
    world.late.forEach(({ session, request, content, token }, i) => {
      const rest = { ...world, late: world.late.filter((_, k) => k !== i) }
      add(`late ${request.op}`, this.#execute(rest, session, token, request, content)[0])
    })
    const { left, file } = world
    if (left.consumers > 0 && file) {
      const next = { ...world, file: undefined, left: { ...left, consumers: left.consumers - 1 } }
      add('the consumer removes the file', withHistory(next, file.session, { isConsumed: true }))
    }
    if (left.aborts > 0) {
      const rest = { ...world, left: { ...left, aborts: left.aborts - 1 } }
      for (const { id, session } of world.uploads) {
        const uploads = world.uploads.filter((each) => each.id !== id)
        add(
          'another program aborts an upload',
          withHistory({ ...rest, uploads }, session, { hasLostBytes: true }),
        )
      }
      if (world.blocks.length > 0) {
        const next = { ...rest, blocks: [] }
        add(
          'the service discards uncommitted blocks',
          world.clients.reduce<World>((each, _, s) => withHistory(each, s, { hasLostBytes: true }), next),
        )
      }
    }
    return steps.map(({ name, next }) => ({ name, next: withoutLostCauses(next) }))
  }

  /** A client sends a packet to a node, or the node begins a sweep. */
  #start(world: World, n: number, node: Node, add: (name: string, next: World) => void): void {
    const start = (from: World, session: number, kind: Kind, cached?: SavedRecord): void => {
      const isCurrent = kind !== 'expire' && kind !== 'strays'
      const first = from.clients[session]?.offset ?? 0
      const task: Task = { session, kind, first, token: freeToken(from), isCurrent, cached, answers: [] }
      const nodes = from.nodes.map((each) =>
        isCurrent && each.task?.session === session
          ? { ...each, task: { ...each.task, isCurrent: false } }
          : each,
      )
      const text = `${nameOf(n)}: ${kind} of session ${session}${cached ? ' with the cached record' : ''}`
      this.#advance({ ...from, nodes: nodes.with(n, { ...node, task }) }, n, text, add)
    }
    world.clients.forEach((client, session) => {
      const kinds: Kind[] = []
      if (client.packets > 0) {
        if (client.state === 'uploading') kinds.push('fragment')
        if (client.state === 'uploading' && this.#variant.cancels && session === 0) kinds.push('cancel')
        if (client.state === 'cancelling') kinds.push('cancel')
        if (client.state === 'done') kinds.push('close')
      }
      for (const kind of kinds) {
        const state = kind === 'cancel' ? 'cancelling' : client.state
        const clients = world.clients.with(session, { ...client, state, packets: client.packets - 1 })
        start({ ...world, clients }, session, kind)
        const cached = node.cache[session]
        if (cached && kind !== 'cancel') start({ ...world, clients }, session, kind, cached)
      }
    })
    const { left } = world
    if (left.expirations > 0 && world.records[0]) {
      const rest = { ...world, left: { ...left, expirations: left.expirations - 1 } }
      start(rest, 0, world.records[0].removed ? 'strays' : 'expire')
    }
  }

  /** The next steps of a task: its request is carried out, or fails. */
  #proceed(world: World, n: number, task: Task, add: (name: string, next: World) => void): void {
    const { request, content, publishes } = this.#outcomeOf(task)
    if (!request) return
    const { session, token } = task
    const isPossible = this.#isPossible(world, session, request)
    const [done, answer] = isPossible
      ? this.#execute(world, session, token, request, content)
      : [world, undefined]
    const text = `${nameOf(n)}: ${request.op}`
    if (isPossible) this.#advance(withAnswer(done, n, answer), n, text, add)

    const { left } = world
    const isRead = reading.has(request.op)
    const late = isRead ? world.late : [...world.late, { session, request, content, token }]
    const fail = (from: World, isAlive: boolean): World => {
      const { cache } = world.nodes[n] as Node
      const node = { isAlive, task: undefined, cache: isAlive ? withItem(cache, session, undefined) : [] }
      const next = { ...from, nodes: from.nodes.with(n, node) }
      return publishes ? withHistory(next, session, { publisherFailed: true }) : next
    }
    if (left.crashes > 0) {
      add(`${text}, crashes`, fail({ ...world, late, left: { ...left, crashes: left.crashes - 1 } }, false))
    }
    if (left.failures > 0 && !isRead) {
      const failures = { ...left, failures: left.failures - 1 }
      add(`${text}, gives up`, fail({ ...world, late, left: failures }, true))
      add(`${text}, the answer is lost`, fail({ ...done, left: failures }, true))
      this.#repeat({ ...done, left: failures }, n, task, answer, add)
    }
  }

  /** The answer to a request is lost, and the SDK sends the request again. */
  #repeat(
    done: World,
    n: number,
    task: Task,
    first: unknown,
    add: (name: string, next: World) => void,
  ): void {
    const { request, content, publishes } = this.#outcomeOf(task)
    if (!request) return
    // A conditional write has a token, by which it is recognized.
    const isKnown = request.op === 'update' && first !== undefined
    let [world, answer] = isKnown
      ? [done, first]
      : this.#execute(done, task.session, task.token, request, content)
    if (request.op === 'create upload') answer = { ...(answer as object), isRepeated: true }
    if (publishes) world = withHistory(world, task.session, { publisherFailed: true })
    this.#advance(withAnswer(world, n, answer), n, `${nameOf(n)}: ${request.op}, sent twice`, add)
  }

  /** The lease of a node that has failed can be acquired when the record has not changed for 10 s. */
  #isPossible(world: World, session: number, request: Request): boolean {
    if (request.op === 'is day old') return !mayCreateUpload(world, session)
    if (request.op !== 'wait') return true
    const record = world.records[session]
    if (record?.version !== request.version) return true
    if (this.#variant.freezes || this.#is('takes the lease of a node that renews it')) return true
    if (this.#is('never takes the lease of another node')) return false
    return !world.nodes.some(({ task }) =>
      request.lease === 0
        ? task?.session === session && this.#outcomeOf(task).publishes
        : task?.token === request.lease,
    )
  }

  /** Runs the program of a node up to its next request, or to the Ack. */
  #advance(world: World, n: number, name: string, add: (name: string, next: World) => void): void {
    const task = world.nodes[n]?.task as Task
    const { request, ack, cache } = this.#outcomeOf(task)
    if (ack) {
      add(`${name}, ${ack.status}`, this.#deliver(world, n, task, ack, cache))
    } else if (request?.op === 'choose') {
      for (let i = 0; i < request.count; i++) this.#advance(withAnswer(world, n, i), n, `${name} (${i})`, add)
    } else add(name, world)
  }

  #outcomeOf(task: Task): Outcome {
    const known = this.#outcomes.get(task)
    if (known) return known
    const packet = new Packet(this.#variant, task, (request, content) => {
      throw new Pending(request, content)
    })
    let outcome: Outcome
    try {
      const ack = packet.run()
      outcome = { ack, content: '', cache: packet.cache, isInHook: false, publishes: false }
    } catch (pending) {
      if (!(pending instanceof Pending)) throw pending
      const { request, content } = pending
      const { cache, isInHook } = packet
      outcome = { request, content, cache, isInHook, publishes: packet.publishes }
    }
    this.#outcomes.set(task, outcome)
    return outcome
  }

  #deliver(world: World, n: number, task: Task, ack: Ack, cache: SavedRecord | undefined): World {
    const { session, kind, isCurrent } = task
    const node = world.nodes[n] as Node
    const cached = this.#variant.caches ? withItem(node.cache, session, cache) : []
    const next = { ...world, nodes: world.nodes.with(n, { ...node, task: undefined, cache: cached }) }
    const client = world.clients[session] as Client
    const history = world.history[session] as History
    if (!isCurrent) return next
    const change = (changes: Partial<Client>): World => ({
      ...next,
      clients: next.clients.with(session, { ...client, ...changes }),
    })
    switch (ack.status) {
      case 'ok':
      case 'range': {
        const { received } = ack
        // The client takes an offset at the end of the file for success.
        if (ack.status === 'range' && received < this.#units) return change({ offset: received })
        const isDone = received === this.#units
        if (isDone && history.published === 0) return { ...next, violation: 'false success' }
        const acknowledged = Math.max(client.acknowledged, received)
        return change({ offset: received, acknowledged, state: isDone ? 'done' : client.state })
      }
      case 'exists':
        return history.published > 0 && !history.isConsumed
          ? { ...next, violation: 'refused by itself' }
          : change({ state: 'refused' })
      case 'gone':
        return history.isEnded ? change({ state: 'gone' }) : { ...next, violation: 'session lost' }
      case 'removed':
        return change({ state: kind === 'cancel' ? 'cancelled' : 'closed' })
      case 'busy':
        return next
    }
  }

  /** The service carries out a request. */
  #execute(
    world: World,
    session: number,
    token: number,
    request: Request,
    content: Content,
  ): [World, unknown] {
    const record = world.records[session]
    const upload = 'id' in request ? world.uploads.find(({ id }) => id === request.id) : undefined
    switch (request.op) {
      case 'get':
        return [world, record]
      case 'update': {
        const isCurrent = record?.version === request.version
        if (!record || (!isCurrent && !this.#is('updates the record without a condition')))
          return [world, undefined]
        const version = world.counter
        const records = world.records.with(session, { ...request.next, version })
        const next = { ...world, records, counter: version + 1 }
        return [request.next.removed ? withHistory(next, session, { isEnded: true }) : next, { version }]
      }
      case 'delete record':
        return [
          withHistory({ ...world, records: world.records.with(session, undefined) }, session, {
            isEnded: true,
          }),
          undefined,
        ]
      case 'create upload': {
        const id = world.counter
        const uploads = [...world.uploads, { id, session, creator: token, parts: [] }]
        return [
          { ...world, uploads, counter: id + 1 },
          { id, isRepeated: false },
        ]
      }
      case 'put part': {
        if (!upload) return [world, undefined]
        const isKms = this.#variant.service === 's3 kms'
        const tag = isKms ? `${content}#${world.counter}` : content
        const parts = withItem(upload.parts, request.number, tag)
        const uploads = world.uploads.map((each) => (each === upload ? { ...each, parts } : each))
        const next = { ...world, uploads, counter: world.counter + (isKms ? 1 : 0) }
        const before = upload.parts[request.number]
        const overwrites = before !== undefined && before !== tag
        return [overwrites ? withHistory(next, session, { hasLostBytes: true }) : next, tag]
      }
      case 'list parts':
        return [world, upload?.parts]
      case 'abort':
        return [{ ...world, uploads: world.uploads.filter((each) => each !== upload) }, undefined]
      case 'complete': {
        if (!upload) return [world, 'no upload']
        const checks = !this.#is('completes whatever parts the service has')
        if (checks && request.tags.some((tag, i) => upload.parts[i] !== tag)) return [world, 'invalid part']
        const condition = this.#variant.service === 'ceph' ? undefined : request.condition
        const tags = request.tags.map((_, i) => upload.parts[i] ?? '')
        const [next, answer] = this.#publish(world, session, tags, condition)
        if (answer !== 'ok') return [next, answer]
        return [{ ...next, uploads: next.uploads.filter((each) => each !== upload) }, 'ok']
      }
      case 'put tail': {
        const key = `tail ${world.counter}`
        return [{ ...world, tails: [...world.tails, { key, session }], counter: world.counter + 1 }, key]
      }
      case 'get tail':
        return [world, world.tails.some(({ key }) => key === request.key)]
      case 'remove tail':
        return [{ ...world, tails: world.tails.filter(({ key }) => key !== request.key) }, undefined]
      case 'remove tails':
        return [{ ...world, tails: world.tails.filter((tail) => tail.session !== session) }, undefined]
      case 'put file':
        return this.#publish(world, session, [content], request.condition)
      case 'put block': {
        let id = `${session}: block ${world.counter}`
        if (this.#is('numbers blocks by their place')) id = `${session}: block ${request.number}`
        if (this.#is('uses the blocks of an earlier attempt again')) id = content
        const others = world.blocks.filter((each) => each.id !== id)
        return [{ ...world, blocks: [...others, { id, content }], counter: world.counter + 1 }, id]
      }
      case 'commit': {
        const contents = request.ids.map((each) => world.blocks.find(({ id }) => id === each)?.content)
        if (contents.some((each) => each === undefined)) return [world, 'no upload']
        const [next, answer] = this.#publish(world, session, contents as Content[], request.condition)
        if (answer !== 'ok') return [next, answer]
        // A commit discards all other blocks of the name.
        const others = world.clients.flatMap((_, s) =>
          s !== session && world.blocks.some((each) => each.content.startsWith(`${s}:`)) ? [s] : [],
        )
        const discarded = others.reduce((each, s) => withHistory(each, s, { hasLostBytes: true }), next)
        return [{ ...discarded, blocks: [] }, 'ok']
      }
      case 'head':
        return [world, world.file]
      case 'claim': {
        const { claim } = world
        if (claim === undefined || claim === session) return [{ ...world, claim: session }, true]
        const other = world.records[claim]
        const isFinished = !other || other.published || other.removed
        if (!isFinished && !this.#is('takes the claim of a session that is not finished'))
          return [world, false]
        // What a removed session has left is aborted first.
        const uploads = other?.removed ? world.uploads.filter(({ id }) => id !== other.upload) : world.uploads
        return [{ ...world, claim: session, uploads }, true]
      }
      case 'list uploads': {
        // No request is carried out a day late.
        const isYoung = ({ id, creator }: Upload): boolean =>
          !this.#is('aborts young uploads that no record has') &&
          (world.nodes.some(({ task }) => task?.token === creator) ||
            world.late.some(({ request: late }) => late.op === 'update' && late.next.upload === id))
        return [world, world.uploads.filter((each) => !isYoung(each)).map(({ id }) => id)]
      }
      case 'get others':
        return [world, world.records.map((each) => (each?.removed ? undefined : each?.upload))]
      case 'wait':
        return [world, record?.version !== request.version]
      default:
        return [world, undefined]
    }
  }

  #publish(
    world: World,
    session: number,
    contents: readonly Content[],
    condition: Condition,
  ): [World, PublishAnswer] {
    const { file } = world
    const isMet = condition === undefined || (condition === 'absent' ? !file : file?.version === condition)
    const isChecked =
      !this.#is('publishes without a condition') && !this.#is('publishes without a condition, with overwrite')
    if (!isMet && isChecked) return [world, 'exists']
    const history = world.history[session] as History
    let next: World = { ...world, file: { session, version: world.counter }, counter: world.counter + 1 }
    if (file && file.session !== session) next = withHistory(next, file.session, { isConsumed: true })
    next = withHistory(next, session, { published: history.published + 1, isConsumed: false })
    let violation: Violation | undefined
    const isExcused = history.publisherFailed && history.isConsumed
    if (!isFile(contents, session, this.#units)) violation = 'wrong bytes'
    else if (file && file.session !== session && !(this.#variant.overwrite && isMet)) {
      violation = 'replaced a file'
    } else if (history.published > 0 && !isExcused) violation = 'published twice'
    else if (world.clients[session]?.state === 'cancelled' && !history.publisherFailed) {
      violation = 'published after cancel'
    }
    return [violation ? { ...next, violation } : next, 'ok']
  }

  /** The violation of a state that a step leads to. */
  violationOf(world: World, before: World): Violation | undefined {
    const found =
      world.violation ??
      this.#lostBytes(world) ??
      this.#hookTwice(world) ??
      (this.#hasSameEnd(world, before) ? undefined : this.#finish(world))
    return found && this.#variant.allows?.includes(found) ? undefined : found
  }

  /** Whether only nodes have changed, so that it was checked before that the clients can finish. */
  #hasSameEnd(world: World, before: World): boolean {
    const publishers = ({ nodes }: World): boolean[] =>
      nodes.map(({ task }) => task !== undefined && this.#outcomeOf(task).publishes)
    return (
      world.records === before.records &&
      world.uploads === before.uploads &&
      world.tails === before.tails &&
      world.blocks === before.blocks &&
      world.file === before.file &&
      world.claim === before.claim &&
      world.history === before.history &&
      world.clients.every((client, i) => {
        const { state, offset, acknowledged } = before.clients[i] as Client
        return client.state === state && client.offset === offset && client.acknowledged === acknowledged
      }) &&
      String(publishers(world)) === String(publishers(before))
    )
  }

  #lostBytes(world: World): Violation | undefined {
    const isLost = world.clients.some(({ acknowledged, state }, session) => {
      const { isEnded, published, hasLostBytes } = world.history[session] as History
      if (acknowledged === 0 || isEnded || published > 0 || hasLostBytes || state === 'refused') return false
      return acknowledged > this.#heldOf(world, session)
    })
    return isLost ? 'lost bytes' : undefined
  }

  /** How many units of a session the service really has. */
  #heldOf(world: World, session: number): number {
    const record = world.records[session]
    if (!record) return 0
    const { parts, tail, inline } = record
    const upload = world.uploads.find(({ id }) => id === record.upload)
    const isHeld = ({ tag }: Part, i: number): boolean =>
      this.#variant.service === 'azure' ? world.blocks.some(({ id }) => id === tag) : upload?.parts[i] === tag
    if (!parts.every(isHeld)) return parts[parts.findIndex((part, i) => !isHeld(part, i)) - 1]?.to ?? 0
    if (tail && !world.tails.some(({ key }) => key === tail.key)) return partsEnd(record)
    return receivedOf({ parts, tail, inline })
  }

  #hookTwice(world: World): Violation | undefined {
    const running = world.nodes.flatMap(({ task }) =>
      task && this.#outcomeOf(task).isInHook ? [task.session] : [],
    )
    return new Set(running).size < running.length ? 'hook twice' : undefined
  }

  /** Whether each client can finish at another node if all nodes fail now, and sweeps remove the rest. */
  #finish(world: World): Violation | undefined {
    const start: World = {
      ...world,
      nodes: [{ isAlive: true, task: undefined, cache: [] }],
      late: [],
      left: { crashes: 0, failures: 0, consumers: 0, expirations: 0, aborts: 0 },
      clients: world.clients.map((client) => ({ ...client, packets: 0 })),
    }
    const failed = world.nodes.reduce<World>(
      (each, { task }) =>
        task && this.#outcomeOf(task).publishes
          ? withHistory(each, task.session, { publisherFailed: true })
          : each,
      start,
    )
    const code = encode(failed)
    if (!this.#finished.has(code)) this.#finished.set(code, this.#finishAll(failed))
    return this.#finished.get(code)
  }

  #finishAll(start: World): Violation | undefined {
    let world = start
    for (let round = 0; round < 8; round++) {
      for (let session = 0; session < world.clients.length; session++) {
        const { state } = world.clients[session] as Client
        const kind = ({ uploading: 'fragment', done: 'close', cancelling: 'cancel' } as const)[
          state as 'done'
        ]
        if (!kind) continue
        const after = this.#runAlone(world, session, kind)
        if (typeof after === 'string') return after
        world = after
      }
    }
    if (
      world.clients.some(({ state }) => state === 'uploading' || state === 'done' || state === 'cancelling')
    ) {
      return 'stuck'
    }
    for (const kind of ['expire', 'strays'] as const) {
      for (let session = 0; session < world.clients.length; session++) {
        const after = this.#runAlone(world, session, kind)
        if (typeof after === 'string') return after
        world = after
      }
    }
    // A sweep removes the objects of sessions without a record. Uncommitted blocks are discarded by the service.
    const tails = world.tails.filter(({ session }) => world.records[session])
    const isClean = tails.length === 0 && world.uploads.length === 0 && world.records.every((each) => !each)
    return isClean ? undefined : 'left behind'
  }

  /** Runs a packet without any failure. */
  #runAlone(start: World, session: number, kind: Kind): World | Violation {
    const first = start.clients[session]?.offset ?? 0
    const isCurrent = kind !== 'expire' && kind !== 'strays'
    const task: Task = { session, kind, first, token: 99, isCurrent, cached: undefined, answers: [] }
    let world = start
    const packet = new Packet(this.#variant, task, (request, content) => {
      if (!this.#isPossible(world, session, request)) throw new Failed('stuck')
      const [next, answer] = this.#execute(world, session, task.token, request, content)
      if (next.violation) throw new Failed(next.violation)
      world = next
      return request.op === 'choose' ? 0 : answer
    })
    try {
      const ack = packet.run()
      const next = this.#deliver(world, 0, task, ack, undefined)
      return next.violation ?? next
    } catch (failed) {
      if (failed instanceof Failed) return failed.violation
      throw failed
    }
  }
}

/** Thrown when the last node cannot continue. */
class Failed {
  readonly violation: Violation
  constructor(violation: Violation) {
    this.violation = violation
  }
}

const nameOf = (n: number): string => 'ABCD'.charAt(n)

function withHistory(world: World, session: number, changes: Partial<History>): World {
  const history = world.history[session] as History
  return { ...world, history: world.history.with(session, { ...history, ...changes }) }
}

function withItem<Item>(
  items: readonly (Item | undefined)[],
  index: number,
  item: Item | undefined,
): (Item | undefined)[] {
  const copy = Array.from({ length: Math.max(items.length, index + 1) }, (_, i) => items[i])
  copy[index] = item
  return copy
}

function withAnswer(world: World, n: number, answer: unknown): World {
  const node = world.nodes[n] as Node
  const task = node.task as Task
  return {
    ...world,
    nodes: world.nodes.with(n, { ...node, task: { ...task, answers: [...task.answers, answer] } }),
  }
}

/** The smallest token that no task, lease or upload has. */
function freeToken({ nodes, records, uploads, late }: World): number {
  const used = new Set<number | undefined>([
    ...nodes.map(({ task }) => task?.token),
    ...records.map((record) => record?.lease),
    ...uploads.map(({ creator }) => creator),
    ...late.map(({ token }) => token),
  ])
  let token = 1
  while (used.has(token)) token++
  return token
}

/** Whether a request of a session that creates an upload may still be carried out, or its id be written. */
const mayCreateUpload = ({ nodes, late }: World, session: number): boolean =>
  late.some((each) => each.session === session && each.request.op === 'create upload') ||
  nodes.some(({ task }) => task?.session === session && task.kind === 'fragment')

/** Leaves out the late requests that cannot change anything. */
function withoutLostCauses(world: World): World {
  if (world.late.length === 0) return world
  const late = world.late.filter(({ session, request }) => {
    if (request.op === 'update') return world.records[session]?.version === request.version
    if (request.op === 'put part' || request.op === 'complete' || request.op === 'abort') {
      return world.uploads.some(({ id }) => id === request.id)
    }
    return true
  })
  return late.length === world.late.length ? world : { ...world, late }
}

/** A text that is the same for equal states: of versions, it says only which are current, and which are equal. */
function encode(world: World): string {
  const { nodes, clients, records, uploads, tails, blocks, file, claim, late, history, left } = world
  const versions = new Set(records.map((record) => record?.version))
  const codeOf = (value: unknown): string => {
    const old: string[] = []
    return JSON.stringify(value).replace(/"(version|condition)":(\d+)/g, (_, key, version) => {
      if (versions.has(Number(version)) || Number(version) === file?.version) return `"${key}":0`
      if (!old.includes(version)) old.push(version)
      return `"${key}":${1 + old.indexOf(version)}`
    })
  }
  const nodeCodes = nodes.map(({ isAlive, task, cache }) => {
    const { session, kind, first, token, isCurrent, cached, answers } = task ?? {}
    return codeOf([isAlive, cache, session, kind, first, token, isCurrent, cached, answers])
  })
  const rest = [clients, records, uploads, tails, blocks, file, claim, late, history, left]
  return nodeCodes.sort().join() + codeOf(rest)
}

export interface Exploration {
  readonly states: number
  /** The requests that were carried out. */
  readonly requests: ReadonlySet<string>
  readonly violation?: Violation
  /** The shortest sequence of steps that leads to the violation. */
  readonly trace?: readonly string[]
}

/** Goes through all states of a variant, breadth first, until one violates a promise. */
export function explore(variant: Variant, limit = Number.POSITIVE_INFINITY): Exploration {
  const model = new Model(variant)
  const found: { name: string; from: number }[] = [{ name: '', from: -1 }]
  const ids = new Set<string>()
  let queue: { world: World; id: number }[] = [{ world: model.initial(), id: 0 }]
  const requests = new Set<string>()
  const traceOf = (id: number): string[] => {
    const trace: string[] = []
    for (let at = id; at > 0; at = found[at]?.from ?? 0) trace.unshift(found[at]?.name ?? '')
    return trace
  }
  while (queue.length > 0) {
    const nextQueue: typeof queue = []
    for (const { world, id } of queue) {
      for (const { name, next } of model.steps(world)) {
        const code = encode(next)
        if (ids.has(code)) continue
        ids.add(code)
        found.push({ name, from: id })
        requests.add(name.replace(/^[A-D]: |,.*| \(.*/g, ''))
        const violation = model.violationOf(next, world)
        if (violation) return { states: ids.size, requests, violation, trace: traceOf(found.length - 1) }
        if (ids.size > limit) return { states: ids.size, requests }
        nextQueue.push({ world: next, id: found.length - 1 })
      }
    }
    queue = nextQueue
  }
  return { states: ids.size, requests }
}
