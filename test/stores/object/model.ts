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
   * - `ceph`: S3 that ignores the condition of CompleteMultipartUpload, and refuses it if the upload has a part too many
   * - `azure`: the file is a list of blocks
   */
  readonly service: 'small' | 's3' | 's3 kms' | 'ceph' | 'azure'
  readonly nodes: number
  /** For each session, how many packets its client sends. */
  readonly packets: readonly number[]
  /** Whether there is a hook `onUpload`: the bytes of a file that is not small are objects that it can read. */
  readonly hook?: boolean
  /** Whether nodes may also publish a file that is not small by one PUT, because they have all of it. */
  readonly mayBeSmall?: boolean
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
   * - `part`: the record has a multipart upload with one part, which the client knows. Also with a hook: then the server that
   *   created the session had none
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
    { ...two, service: 'small', packets: [3], interrupts: true, units: 3 },
  ],
  'acknowledges before the record is written': ['lost bytes', { ...two, service: 's3', interrupts: true }],
  'completes whatever parts the service has': ['wrong bytes', threeUnits],
  'does not reset a session whose part was overwritten': ['stuck', threeUnits],
  'takes a missing tail object for a loss': [
    'lost bytes',
    { ...two, packets: [3], service: 's3', interrupts: true, units: 3 },
  ],
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
  'publishes a small file without the lease': [
    'published twice',
    { ...two, service: 'small', overwrite: true, consumers: 1 },
  ],
  'does not check the lease': ['hook twice', { ...two, service: 's3', hook: true }],
  'takes the lease of a node that renews it': ['hook twice', { ...two, service: 's3', hook: true }],
  'never takes the lease of another node': [
    'stuck',
    { ...two, service: 'small', overwrite: true, crashes: 1 },
  ],
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
  'forgets the upload of a session that starts again': [
    'left behind',
    { ...two, packets: [1], service: 's3', hook: true, begins: 'part' },
  ],
  'removes strays before a day has passed': [
    'left behind',
    { ...two, service: 's3', expirations: 2, crashes: 1 },
  ],
  'aborts young uploads that no record has': ['lost bytes', strays],
  'aborts old uploads of other sessions': ['lost bytes', strays],
  'forgets an upload when it publishes a small file': [
    'left behind',
    { ...two, service: 's3', mayBeSmall: true, crashes: 1 },
  ],
  'removes the claim after a failed completion': [
    'replaced a file',
    { ...two, service: 'ceph', packets: [1, 1], failures: 1 },
  ],
  'takes the claim of a removed session before its upload is aborted': [
    'replaced a file',
    { ...two, nodes: 3, service: 'ceph', packets: [2, 1], begins: 'part', cancels: true },
  ],
  'completes an upload with a part too many again': [
    'stuck',
    { ...threeUnits, service: 'ceph', packets: [3], failures: 1 },
  ],
  'joins objects without the lease': [
    'published twice',
    { ...two, service: 'azure', hook: true, consumers: 1 },
  ],
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

/** A part in the record: its last unit, and its ETag, block id or the key of its object. */
interface Part {
  readonly to: number
  readonly tag: string
}

/** The record of a session. */
interface SessionState {
  /** The id of the multipart upload. `starting`: it is about to be created. */
  readonly upload?: number | 'starting' | undefined
  readonly parts: readonly Part[]
  /** The tail objects, behind the parts. */
  readonly tails: readonly { readonly key: string; readonly to: number }[]
  /** The parts are objects. */
  readonly separate?: boolean | undefined
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

const partsEnd = ({ parts }: SessionState): number => parts.at(-1)?.to ?? 0
const receivedOf = (state: SessionState): number => state.tails.at(-1)?.to ?? partsEnd(state)
const uploadOf = ({ upload }: SessionState): number | undefined =>
  typeof upload === 'number' ? upload : undefined

type Condition = 'absent' | number | undefined
/** `busy`: the name is claimed, or changes again and again. */
type PublishAnswer = 'ok' | 'own file' | 'exists' | 'invalid part' | 'no upload' | 'busy'

/** Requests to the service; `wait`, `hook` and `isDayOld` are waits of a node. */
type Request =
  | {
      readonly op: 'get' | 'delete record' | 'create upload' | 'put object' | 'remove all objects' | 'head'
    }
  | { readonly op: 'claim' | 'remove claim' }
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
  | { readonly op: 'copy part'; readonly id: number; readonly number: number; readonly key: string }
  | { readonly op: 'get object'; readonly key: string }
  | { readonly op: 'remove objects'; readonly keys: readonly string[] }
  | { readonly op: 'put file'; readonly condition: Condition }
  | { readonly op: 'put block'; readonly number: number }
  | { readonly op: 'commit'; readonly ids: readonly string[]; readonly condition: Condition }
  /** A lease of 0: of a node that publishes. */
  | { readonly op: 'wait'; readonly lease: number; readonly version: number }
  | { readonly op: 'choose'; readonly count: number }

const publishing: ReadonlySet<string> = new Set(['complete', 'put file', 'commit'])
const reading: ReadonlySet<string> = new Set([
  'get', 'get object', 'head', 'get others', 'list uploads', 'list parts', 'is day old', 'wait', 'choose', 'hook',
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
  /** Whether the record said that the file was published when the packet arrived. */
  readonly isLate: boolean
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

interface Block {
  readonly id: string
  readonly content: Content
}

/** A request of a node that has crashed, or has given it up. */
interface LateRequest {
  readonly session: number
  readonly token: number
  readonly request: Request
  readonly content: Content
}

interface PublishRequest {
  readonly session: number
  readonly token: number
  readonly contents: readonly Content[]
  readonly condition: Condition
  readonly blocks?: readonly Block[]
}

interface World {
  readonly nodes: readonly Node[]
  readonly clients: readonly Client[]
  readonly records: readonly (SavedRecord | undefined)[]
  readonly uploads: readonly Upload[]
  /** Tail objects, and objects of sessions that are `separate`. */
  readonly objects: readonly { readonly key: string; readonly session: number }[]
  /** The uncommitted blocks of the name. */
  readonly blocks: readonly Block[]
  /** The published file, with its committed blocks. */
  readonly file:
    | { readonly session: number; readonly version: number; readonly blocks: readonly Block[] }
    | undefined
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
  /** The record that the node read or wrote last. */
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

  get #isAzure(): boolean {
    return this.#variant.service === 'azure'
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

  #choose<Choice>(choices: readonly Choice[]): Choice {
    const index = choices.length > 1 ? this.#call<number>({ op: 'choose', count: choices.length }) : 0
    return choices[index] as Choice
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
    if (cached && !cached.published && (first > receivedOf(cached) || cached.removed)) record = this.#get()
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
    const { service, interrupts, mayBeSmall, hook } = this.#variant
    const start = receivedOf(record)
    const hows: ('all' | 'tail' | 'part' | 'one put')[] = ['all']
    if (interrupts && this.#units - start > 1) hows.push('tail')
    if (interrupts && this.#units - start > 1 && service !== 'small') hows.push('part')
    if (mayBeSmall && record.parts.length === 0 && !record.separate && !hook) hows.push('one put')
    const how = this.#choose(hows)
    const to = how === 'all' || how === 'one put' ? this.#units : start + 1
    if (how === 'one put' || (service === 'small' && how === 'all' && !hook))
      return this.#publishSmall(record)
    const early = this.#is('acknowledges before the record is written')
    if (how === 'tail' || service === 'small') {
      return early ? { status: 'ok', received: to } : this.#appendTail(record, to)
    }
    if (record.separate) return this.#appendObject(record, to)
    return this.#isAzure ? this.#appendBlock(record, to) : this.#appendPart(record, to)
  }

  #appendTail(record: SavedRecord, to: number): Ack {
    const content = contentOf(this.#task.session, receivedOf(record), to)
    const key = this.#call<string>({ op: 'put object' }, content)
    const next = this.#update(record, { tails: [...record.tails, { key, to }] })
    return next ? this.#appended(next) : this.#reload(to)
  }

  /** Reads the tail objects, whose bytes are written again together with those that follow. */
  #readTails({ tails }: SavedRecord): boolean {
    return tails.every(({ key }) => this.#call<boolean>({ op: 'get object', key }))
  }

  #removeObjects(objects: readonly { readonly key: string }[]): void {
    const keys = objects.map(({ key }) => key)
    if (keys.length > 0) this.#call({ op: 'remove objects', keys })
  }

  /** The id of the upload to the final key, which is created if there is none, and the record as it is now. */
  #beginUpload(before: SavedRecord): { id: number; record: SavedRecord; strays?: true } | undefined {
    if (typeof before.upload === 'number') return { id: before.upload, record: before }
    let record: SavedRecord | undefined = before
    // The record says first that an upload may exist. A second node that finds this notes that there may be two.
    if (!this.#is('creates an upload before the record says so')) {
      const isSecond =
        before.upload === 'starting' && !this.#is('forgets that an upload may have been created')
      record = this.#update(before, { upload: 'starting', strays: isSecond || before.strays })
      if (!record) return undefined
    }
    const { id, isRepeated } = this.#call<{ id: number; isRepeated: boolean }>({ op: 'create upload' })
    // The SDK has sent the request twice, and the first one may have created an upload, too.
    const isNoted = isRepeated && !this.#is('forgets that a request was repeated')
    return { id, record, ...(isNoted && { strays: true }) }
  }

  #appendPart(before: SavedRecord, to: number): Ack {
    if (!this.#readTails(before)) return this.#reset(before)
    const begun = this.#beginUpload(before)
    if (!begun) return this.#reload(to)
    const { id, record, strays } = begun
    const number = record.parts.length
    const content = contentOf(this.#task.session, partsEnd(record), to)
    const tag = this.#call<string | undefined>({ op: 'put part', id, number }, content)
    if (tag === undefined) return this.#uploadMissing(record, id)
    const parts = [...record.parts, { to, tag }]
    if (this.#is('removes tail objects before the record is written')) this.#removeObjects(record.tails)
    if (to === this.#units && !this.#variant.hook && record.parts.length > 0) {
      return this.#publishParts(record, parts)
    }
    const change = { upload: id, parts, tails: [], strays: strays ?? record.strays }
    const next = this.#update(record, change)
    if (next) {
      this.#removeObjects(record.tails)
      return this.#appended(next)
    }
    const current = this.#get()
    // The upload that this node has created is not in the record.
    if (record.upload !== id && current?.upload !== id) this.#call({ op: 'abort', id })
    else {
      // It may have overwritten a part of the record.
      const other = current?.upload === id ? current.parts[number] : undefined
      if (current && other && other.tag !== tag) return this.#dropOverwrittenParts(current, current.parts)
    }
    return this.#reload(to)
  }

  #appendBlock(record: SavedRecord, to: number): Ack {
    if (!this.#readTails(record)) return this.#reset(record)
    const content = contentOf(this.#task.session, partsEnd(record), to)
    const id = this.#call<string>({ op: 'put block', number: record.parts.length }, content)
    const parts = [...record.parts, { to, tag: id }]
    const isRecorded = record.parts.length > 0 || this.#is('commits blocks of which the record has none')
    if (to === this.#units && !this.#variant.hook && isRecorded) return this.#publishParts(record, parts)
    return this.#recordPart(record, parts)
  }

  /** The bytes are an object of their own. */
  #appendObject(record: SavedRecord, to: number): Ack {
    if (!this.#readTails(record)) return this.#reset(record)
    const content = contentOf(this.#task.session, partsEnd(record), to)
    const tag = this.#call<string>({ op: 'put object' }, content)
    return this.#recordPart(record, [...record.parts, { to, tag }])
  }

  #recordPart(record: SavedRecord, parts: readonly Part[]): Ack {
    const next = this.#update(record, { parts, tails: [] })
    if (!next) return this.#reload(parts.at(-1)?.to ?? 0)
    this.#removeObjects(record.tails)
    return this.#appended(next)
  }

  /** The bytes of a fragment are in the record. */
  #appended(record: SavedRecord): Ack {
    const received = receivedOf(record)
    if (received < this.#units) return { status: 'ok', received }
    return this.#variant.hook ? this.#decide(record) : this.#publish(record, false)
  }

  /** All units are in the record when the packet begins, and nothing is published. */
  #complete(record: SavedRecord): Ack {
    if (!this.#variant.hook || record.accepted) return this.#publish(record, false)
    const next = this.#update(record, {})
    return next ? this.#decide(next) : this.#again()
  }

  /** Other nodes have written the record meanwhile. */
  #again(): Ack {
    const record = this.#get()
    if (!record || record.removed) return { status: 'gone' }
    if (record.published) return { status: 'ok', received: this.#units }
    const received = receivedOf(record)
    return received === this.#units ? { status: 'busy' } : { status: 'range', received }
  }

  /** Waits while a living node has the lease. */
  #waitForLease(before: SavedRecord): SavedRecord | undefined {
    const { lease, version } = before
    if (lease === undefined || lease === this.#task.token || this.#is('does not check the lease'))
      return before
    return this.#call<boolean>({ op: 'wait', lease, version }) ? this.#get() : before
  }

  /** Acquires the lease by an update of the record. Undefined if other nodes have changed the session. */
  #acquire(before: SavedRecord): SavedRecord | undefined {
    const progressOf = ({ version: _, lease: __, ...progress }: SavedRecord): string =>
      JSON.stringify(progress)
    let record: SavedRecord | undefined = before
    for (let attempt = 0; record && attempt < 3; attempt++) {
      record = this.#waitForLease(record)
      if (!record || progressOf(record) !== progressOf(before)) return undefined
      const next = this.#update(record, { lease: this.#task.token })
      if (next) return next
      record = this.#get()
    }
    return undefined
  }

  /** Removes the lease from the record, if it is still there. */
  #release(ack: Ack): Ack {
    const { cache } = this
    if (cache && cache.lease === this.#task.token) this.#update(cache, { lease: undefined })
    return ack
  }

  /** Runs the hook with the lease. */
  #decide(before: SavedRecord): Ack {
    let record: SavedRecord | undefined = before
    for (let attempt = 0; attempt < 3; attempt++) {
      if (!record || record.removed) return { status: 'gone' }
      if (record.published) return { status: 'ok', received: this.#units }
      const received = receivedOf(record)
      if (received !== this.#units) return { status: 'range', received }
      if (record.accepted) return this.#publish(record, false)
      if (!record.separate && record.parts.length > 0) {
        // The session was created by a server without the hook.
        return this.#reset(record, { separate: true })
      }
      const leased = this.#acquire(record)
      if (leased) return this.#release(this.#runHook(leased))
      record = this.#get()
    }
    return { status: 'busy' }
  }

  #runHook(record: SavedRecord): Ack {
    this.isInHook = true
    this.#call({ op: 'hook' })
    // Usually the publication implies the decision. This write also stands for a renewal.
    const accepted = this.#choose([false, true]) ? this.#update(record, { accepted: true }) : record
    this.isInHook = false
    return accepted ? this.#publish(accepted, true) : { status: 'busy' }
  }

  /** Publishes a session whose bytes are all in its record. */
  #publish(record: SavedRecord, isLeased: boolean): Ack {
    if (record.parts.length === 0) return this.#publishSmall(record, isLeased)
    if (!record.separate) return this.#publishParts(record, record.parts)
    if (isLeased || this.#is('joins objects without the lease')) return this.#publishObjects(record)
    const leased = this.#acquire(record)
    return leased ? this.#release(this.#publishObjects(leased)) : this.#again()
  }

  /** By one PUT. With `overwrite`, a delayed PUT could replace a newer file, so it needs the lease. */
  #publishSmall(record: SavedRecord, isLeased = false): Ack {
    const needsLease = this.#variant.overwrite && !this.#is('publishes a small file without the lease')
    if (isLeased || !needsLease) return this.#putFile(record)
    const leased = this.#acquire(record)
    return leased ? this.#release(this.#putFile(leased)) : this.#reload(this.#units)
  }

  #putFile(record: SavedRecord): Ack {
    if (!this.#readTails(record)) return this.#reset(record)
    const content = contentOf(this.#task.session, 0, this.#units)
    const answer = this.#publishOnCondition((condition) =>
      this.#call<PublishAnswer>({ op: 'put file', condition }, content),
    )
    const isThere = answer === 'ok' || answer === 'own file'
    return isThere ? this.#recordPublished(record, undefined) : this.#refused(answer)
  }

  /** Sends a request that publishes, unless the file of this session is there. */
  #publishOnCondition(send: (condition: Condition) => PublishAnswer): PublishAnswer {
    const { session } = this.#task
    const { overwrite } = this.#variant
    let found = overwrite ? this.#call<World['file']>({ op: 'head' }) : undefined
    for (let attempt = 0; attempt < 2; attempt++) {
      const recognizes = attempt === 0 || !this.#is('does not recognize its own file')
      if (found && found.session === session && recognizes) return 'own file'
      if (found && !overwrite) return 'exists'
      const answer = send(found ? found.version : 'absent')
      if (answer !== 'exists') return answer
      found = this.#call<World['file']>({ op: 'head' })
      if (found && found.session === session && !this.#is('does not recognize its own file'))
        return 'own file'
    }
    return found && !overwrite ? 'exists' : 'busy'
  }

  #refused(answer: PublishAnswer): Ack {
    return { status: answer === 'exists' ? 'exists' : 'busy' }
  }

  /** @param parts may have one more part than the record */
  #publishParts(record: SavedRecord, parts: readonly Part[]): Ack {
    const id = typeof record.upload === 'number' ? record.upload : undefined
    const answer = this.#completeUpload(
      id ?? -1,
      parts.map(({ tag }) => tag),
    )
    if (answer === 'own file' && id !== undefined) this.#call({ op: 'abort', id })
    if (answer === 'ok' || answer === 'own file') return this.#recordPublished(record, id)
    if (answer === 'no upload') return this.#uploadMissing(record, id)
    if (answer === 'invalid part') return this.#dropOverwrittenParts(record, parts)
    return this.#refused(answer)
  }

  #completeUpload(id: number, tags: readonly string[]): PublishAnswer {
    const complete = (condition: Condition): PublishAnswer =>
      this.#call<PublishAnswer>(
        this.#isAzure ? { op: 'commit', ids: tags, condition } : { op: 'complete', id, tags, condition },
      )
    if (this.#variant.service !== 'ceph' || this.#is('completes without a claim')) {
      return this.#publishOnCondition(complete)
    }
    if (!this.#call<boolean>({ op: 'claim' })) return 'busy'
    const found = this.#call<World['file']>({ op: 'head' })
    let answer: PublishAnswer = 'own file'
    if (found && found.session !== this.#task.session && !this.#variant.overwrite) answer = 'exists'
    else if (found?.session !== this.#task.session) answer = complete(found ? found.version : 'absent')
    // After another answer the completion may be repeated.
    if (['ok', 'own file', 'exists'].includes(answer)) this.#call({ op: 'remove claim' })
    return answer
  }

  /** Joins the objects of a `separate` session, with the lease. */
  #publishObjects(before: SavedRecord): Ack {
    const found = this.#call<World['file']>({ op: 'head' })
    if (found && found.session !== this.#task.session && !this.#variant.overwrite) return { status: 'exists' }
    if (found?.session === this.#task.session) return this.#recordPublished(before, uploadOf(before))
    let record = before
    let id = -1
    if (!this.#isAzure) {
      const begun = this.#beginUpload(before)
      if (!begun) return { status: 'busy' }
      id = begun.id
      record = begun.record
      if (record.upload !== id) {
        const next = this.#update(record, { upload: id, strays: begun.strays ?? record.strays })
        if (!next) return { status: 'busy' }
        record = next
      }
    }
    const tags: string[] = []
    let start = 0
    for (const [number, { tag: key, to }] of record.parts.entries()) {
      const content = contentOf(this.#task.session, start, to)
      const tag = this.#call<string | undefined>({ op: 'copy part', id, number, key }, content)
      if (tag === 'no object') return this.#reset(record)
      if (tag === undefined) return this.#copyLost(record)
      tags.push(tag)
      start = to
    }
    const answer = this.#completeUpload(id, tags)
    if (answer === 'ok' || answer === 'own file') return this.#recordPublished(record, id)
    return answer === 'no upload' ? this.#copyLost(record) : this.#refused(answer)
  }

  /** The upload of a `separate` session is missing. The next attempt begins another one. */
  #copyLost(record: SavedRecord): Ack {
    const found = this.#call<World['file']>({ op: 'head' })
    if (found?.session === this.#task.session) return this.#recordPublished(record, uploadOf(record))
    this.#update(record, { upload: undefined })
    return { status: 'busy' }
  }

  /** Some parts of the record were overwritten. The bytes before the first of them count. */
  #dropOverwrittenParts(record: SavedRecord, parts: readonly Part[]): Ack {
    if (this.#is('does not reset a session whose part was overwritten')) return { status: 'busy' }
    const tags = this.#call<readonly string[] | undefined>({ op: 'list parts', id: record.upload as number })
    if (!tags) return this.#uploadMissing(record, uploadOf(record))
    const end = parts.findIndex(({ tag }, i) => tags[i] !== tag)
    const forgets = this.#is('completes an upload with a part too many again')
    if (end < 0 && tags.length > parts.length && !forgets) return this.#reset(record)
    if (end < 0) return this.#again()
    const kept = parts.slice(0, end)
    const next = this.#update(record, { parts: kept, tails: [], accepted: undefined })
    return next ? { status: 'range', received: receivedOf(next) } : this.#reload(this.#units)
  }

  /** The multipart upload does not exist, or some blocks: the file was published, or the upload was aborted. */
  #uploadMissing(record: SavedRecord, id: number | undefined): Ack {
    const found = this.#call<World['file']>({ op: 'head' })
    if (found?.session === this.#task.session || this.#is('takes a missing upload for a published one')) {
      return this.#recordPublished(record, id)
    }
    if (this.#is('does not reset a session whose upload is missing')) return { status: 'busy' }
    // Another node may have published the file, and is about to write the record.
    if (!this.#is('resets a session without the wait')) {
      if (this.#call<boolean>({ op: 'wait', lease: 0, version: record.version })) return this.#again()
    }
    return this.#reset(record)
  }

  /** Bytes are lost. If the record has changed, another node has written or published them. */
  #reset(record: SavedRecord, changes: Partial<SessionState> = {}): Ack {
    let current: SavedRecord | undefined = record
    if (this.#is('takes a missing tail object for a loss')) current = this.#get() ?? record
    const forgets = this.#is('forgets the upload of a session that starts again')
    const hadUpload = !this.#isAzure && record.upload !== undefined && !forgets
    const next = this.#update(current, {
      upload: undefined,
      parts: [],
      tails: [],
      accepted: undefined,
      lease: undefined,
      strays: record.strays || hadUpload || undefined,
      separate: record.separate || this.#isAzure || undefined,
      ...changes,
    })
    return next ? { status: 'range', received: 0 } : this.#reload(this.#units)
  }

  /**
   * Writes that the file was published, also if another node has written the record meanwhile.
   * @param completed the upload that was completed
   */
  #recordPublished(before: SavedRecord, completed: number | undefined): Ack {
    let record: SavedRecord | undefined = before
    for (let attempt = 0; attempt < 3; attempt++) {
      const { upload, strays } = record
      const forgets = completed === undefined && this.#is('forgets an upload when it publishes a small file')
      const hasOtherUpload = upload !== undefined && upload !== completed && !forgets && !this.#isAzure
      const done = this.#update(record, {
        published: true,
        upload: undefined,
        parts: [],
        tails: [],
        lease: undefined,
        strays: hasOtherUpload || strays,
      })
      if (done) {
        const objects = record.separate ? record.parts.map(({ tag }) => ({ key: tag })) : []
        this.#removeObjects([...objects, ...record.tails])
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
    const { cached, kind } = this.#task
    let record = cached?.published ? cached : this.#get()
    for (let attempt = 0; attempt < 3; attempt++) {
      if (!record) return { status: 'removed' }
      // Objects that it does not name are removed by a sweep, because their session has no record.
      if (record.published && record.upload === undefined && !record.strays) {
        this.#call({ op: 'delete record' })
        this.cache = undefined
        return { status: 'removed' }
      }
      if (!record.removed) {
        record = this.#waitForLease(record)
        if (!record) return { status: 'removed' }
      }
      const early = this.#is('aborts the upload before the record is marked')
      if (early && typeof record.upload === 'number') this.#call({ op: 'abort', id: record.upload })
      const marked: SavedRecord | undefined = record.removed
        ? record
        : this.#update(record, { removed: true, lease: undefined })
      if (marked) return this.#removeAll(marked)
      // A packet has advanced the session.
      if (kind === 'expire') return { status: 'busy' }
      record = this.#get()
    }
    return { status: 'busy' }
  }

  #removeAll(record: SavedRecord): Ack {
    const first = this.#is('removes the record before the upload is aborted')
    if (first) this.#call({ op: 'delete record' })
    if (typeof record.upload === 'number') this.#call({ op: 'abort', id: record.upload })
    this.#call({ op: 'remove all objects' })
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
    const none: SessionState = { parts: [], tails: [] }
    const states: Record<NonNullable<Setting['begins']>, SessionState> = {
      part: { ...none, upload: 0, parts: [{ to: 1, tag }] },
      strays: { ...none, upload: 'starting', removed: true },
    }
    const { begins, hook, service } = this.#variant
    const empty = hook && service !== 'small' ? { ...none, separate: true } : none
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
      objects: [],
      blocks: [],
      file: undefined,
      claim: undefined,
      late: [],
      history: packets.map((_, session) => ({
        published: 0,
        isConsumed: false,
        publisherFailed: false,
        // A session without the hook begins again when the hook is added.
        hasLostBytes: hook === true && begins === 'part' && session === 0,
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
      const isLate = from.records[session]?.published === true
      const task = { session, kind, first, token: freeToken(from), isCurrent, isLate, cached, answers: [] }
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
        if (cached && kind !== 'cancel' && (kind !== 'close' || cached.published))
          start({ ...world, clients }, session, kind, cached)
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
    const unclaims = request.op === 'complete' && this.#is('removes the claim after a failed completion')
    const fail = (from: World, isAlive: boolean): World => {
      const { cache } = world.nodes[n] as Node
      const node = { isAlive, task: undefined, cache: isAlive ? withItem(cache, session, undefined) : [] }
      const next = {
        ...from,
        nodes: from.nodes.with(n, node),
        ...(unclaims && isAlive && { claim: undefined }),
      }
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
        const { service } = this.#variant
        if (service === 'ceph' && upload.parts.length > request.tags.length) return [world, 'invalid part']
        if (checks && request.tags.some((tag, i) => upload.parts[i] !== tag)) return [world, 'invalid part']
        const condition = service === 'ceph' ? undefined : request.condition
        const contents = request.tags.map((_, i) => upload.parts[i] ?? '')
        const [next, answer] = this.#publish(world, { session, token, contents, condition })
        if (answer !== 'ok') return [next, answer]
        return [{ ...next, uploads: next.uploads.filter((each) => each !== upload) }, 'ok']
      }
      case 'put object': {
        const key = `object ${world.counter}`
        const objects = [...world.objects, { key, session }]
        return [{ ...world, objects, counter: world.counter + 1 }, key]
      }
      case 'get object':
        return [world, world.objects.some(({ key }) => key === request.key)]
      case 'remove objects':
        return [
          { ...world, objects: world.objects.filter(({ key }) => !request.keys.includes(key)) },
          undefined,
        ]
      case 'remove all objects':
        return [{ ...world, objects: world.objects.filter((each) => each.session !== session) }, undefined]
      case 'copy part': {
        const { id, number, key } = request
        if (!world.objects.some((each) => each.key === key)) return [world, 'no object']
        const copy: Request =
          this.#variant.service === 'azure' ? { op: 'put block', number } : { op: 'put part', id, number }
        return this.#execute(world, session, token, copy, content)
      }
      case 'put file':
        return this.#publish(world, { session, token, contents: [content], condition: request.condition })
      case 'put block': {
        let id = `${session}: block ${world.counter}`
        if (this.#is('numbers blocks by their place')) id = `${session}: block ${request.number}`
        if (this.#is('uses the blocks of an earlier attempt again')) id = content
        const others = world.blocks.filter((each) => each.id !== id)
        return [{ ...world, blocks: [...others, { id, content }], counter: world.counter + 1 }, id]
      }
      case 'commit': {
        // The service also finds blocks that are committed.
        const blocks = [...world.blocks, ...(world.file?.blocks ?? [])]
        const listed = request.ids.map((each) => blocks.find(({ id }) => id === each))
        if (listed.some((each) => each === undefined)) return [world, 'no upload']
        const contents = listed.map((each) => each?.content ?? '')
        const { condition } = request
        return this.#publish(world, { session, token, contents, condition, blocks: listed as Block[] })
      }
      case 'head':
        return [world, world.file]
      case 'claim': {
        const { claim } = world
        if (claim === undefined || claim === session) return [{ ...world, claim: session }, true]
        const other = world.records[claim]
        // A claim is stale after an hour, when no completion of its session is in progress.
        const isStale =
          !world.nodes.some(({ task }) => task?.session === claim) &&
          !world.late.some((each) => each.session === claim && each.request.op === 'complete')
        const isFinished = !other || other.published || other.removed || isStale
        if (!isFinished && !this.#is('takes the claim of a session that is not finished'))
          return [world, false]
        // What a removed session has left is aborted first.
        const aborts = !this.#is('takes the claim of a removed session before its upload is aborted')
        const uploads =
          other?.removed && aborts ? world.uploads.filter(({ id }) => id !== other.upload) : world.uploads
        return [{ ...world, claim: session, uploads }, true]
      }
      case 'remove claim':
        return [{ ...world, claim: undefined }, undefined]
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
    { session, token, contents, condition, blocks = [] }: PublishRequest,
  ): [World, PublishAnswer] {
    const { file } = world
    const isMet = condition === undefined || (condition === 'absent' ? !file : file?.version === condition)
    const isChecked =
      !this.#is('publishes without a condition') && !this.#is('publishes without a condition, with overwrite')
    if (!isMet && isChecked) return [world, 'exists']
    const history = world.history[session] as History
    const version = world.counter
    let next: World = { ...world, file: { session, version, blocks }, blocks: [], counter: version + 1 }
    // Azure discards all other blocks of the name.
    for (const other of world.clients.keys()) {
      const hasBlocks = world.blocks.some(({ content }) => content.startsWith(`${other}:`))
      if (other !== session && hasBlocks) next = withHistory(next, other, { hasLostBytes: true })
    }
    if (file && file.session !== session) next = withHistory(next, file.session, { isConsumed: true })
    next = withHistory(next, session, { published: history.published + 1, isConsumed: false })
    let violation: Violation | undefined
    // Without `overwrite` a small file is published without the lease.
    const task = world.nodes.find((node) => node.task?.token === token)?.task
    const hasRecordOfBefore = task !== undefined && (!task.isLate || task.cached !== undefined)
    const isSmall = this.#variant.service === 'small' && !this.#variant.overwrite && hasRecordOfBefore
    const isExcused = history.isConsumed && (history.publisherFailed || isSmall)
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
      world.objects === before.objects &&
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
    const { parts, tails, separate } = record
    const upload = world.uploads.find(({ id }) => id === record.upload)
    const isObject = (key: string): boolean => world.objects.some((each) => each.key === key)
    const isHeld = ({ tag }: Part, i: number): boolean => {
      if (separate) return isObject(tag)
      const isBlock = world.blocks.some(({ id }) => id === tag)
      return this.#variant.service === 'azure' ? isBlock : upload?.parts[i] === tag
    }
    if (!parts.every(isHeld)) return parts[parts.findIndex((part, i) => !isHeld(part, i)) - 1]?.to ?? 0
    return tails.every(({ key }) => isObject(key)) ? receivedOf(record) : partsEnd(record)
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
    const objects = world.objects.filter(({ session }) => world.records[session])
    const isClean = objects.length === 0 && world.uploads.length === 0 && world.records.every((each) => !each)
    return isClean ? undefined : 'left behind'
  }

  /** Runs a packet without any failure. */
  #runAlone(start: World, session: number, kind: Kind): World | Violation {
    const first = start.clients[session]?.offset ?? 0
    const isCurrent = kind !== 'expire' && kind !== 'strays'
    const isLate = true
    const task: Task = { session, kind, first, token: 99, isCurrent, isLate, cached: undefined, answers: [] }
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
    // Azure has no uploads.
    if (['put part', 'copy part', 'complete', 'abort'].includes(request.op) && 'id' in request) {
      return request.id < 0 || world.uploads.some(({ id }) => id === request.id)
    }
    return true
  })
  return late.length === world.late.length ? world : { ...world, late }
}

/** A text that is the same for equal states: of versions, it says only which are current, and which are equal. */
function encode(world: World): string {
  const { nodes, clients, records, uploads, objects, blocks, file, claim, late, history, left } = world
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
    const { session, kind, first, token, isCurrent, isLate, cached, answers } = task ?? {}
    return codeOf([isAlive, cache, session, kind, first, token, isCurrent, isLate, cached, answers])
  })
  const rest = [clients, records, uploads, objects, blocks, file, claim, late, history, left]
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
