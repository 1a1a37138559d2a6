import { existsSync, unlinkSync, writeFileSync } from 'node:fs'
import { Agent, type OutgoingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { type Answer, answerTo, begin, hresult, received } from '../support/client.ts'
import { type Moment, type Paths, sight } from './aim.ts'
import { contentOf } from './ledger.ts'
import type { Random } from './random.ts'
import type { Stage, Target } from './stage.ts'

export interface Plan {
  readonly name: string
  readonly file: Buffer
  readonly overwrite: boolean
  /** What the client does with its session, if nobody stands in its way. */
  readonly fate: 'close' | 'cancel' | 'close early' | 'name taken'
}

const SessionNotFound = '0x8020001F'
/** What the test itself puts where a file was, or is to be. */
const Marker = Buffer.from('not an upload')

/**
 * One upload, by a client that behaves as Windows' does: it goes on from its own last Ack, obeys the offset in the
 * answer, and starts over when its session is not known. It also sends what it sent before, sends with gaps, and hangs
 * up in mid-fragment. Whatever it is answered is held against what it knows.
 */
export class Upload {
  readonly name: string
  isExpired = false
  readonly #stage: Stage
  readonly #random: Random
  readonly #plan: Plan
  #id = ''
  /** Bytes that the server said it holds. */
  #acked = 0
  /** Bytes that it may hold. */
  #sent = 0
  #finished = false
  #ending = false
  #nameTaken = false
  /** What happened to it, to be told with a complaint. */
  readonly #story: string[] = []
  /** A fragment that was cut off may be read after the one that followed it, and take the session from it. */
  #overtaken = false
  /** Bytes on disk while the server was dead: not told again by it since. */
  #onDisk: number | undefined
  #agent: { readonly url: string; readonly epoch: number; readonly agent: Agent } | undefined

  constructor(stage: Stage, random: Random, plan: Plan) {
    this.#stage = stage
    this.#random = random
    this.#plan = plan
    this.name = plan.name
  }

  toString(): string {
    const { file, overwrite, fate } = this.#plan
    const more = `${overwrite ? 'overwrite, ' : ''}${fate}, sent ${this.#sent}, acked ${this.#acked}`
    return `${this.name} ${this.#id} (${file.length} bytes, ${more})`
  }

  get paths(): Paths {
    const { sessions, directory } = this.#stage
    return {
      record: join(sessions, `${this.#id}.json`),
      part: join(sessions, `${this.#id}.part`),
      spare: join(sessions, `${this.#id}.out`),
      file: join(directory, this.name),
    }
  }

  get isOnDisk(): boolean {
    const { record, part, spare } = this.paths
    return [record, part, spare].some((path) => existsSync(path))
  }

  /** Not one of which only the server knows whether it is published. */
  get mayExpire(): boolean {
    if (this.#id === '' || this.#ending || this.isExpired || this.#nameTaken) return false
    return this.#sent < this.#plan.file.length
  }

  async run(): Promise<void> {
    const { file, fate } = this.#plan
    this.#stage.uploads.add(this)
    await this.#create()
    // Perhaps all of them.
    const enough = fate === 'close' ? file.length : this.#random.below(file.length + 1)
    while (!this.#finished) {
      if (fate !== 'close' && this.#acked >= enough) {
        if (fate !== 'name taken') break
        this.#takeName()
      }
      if (!(await this.#advance())) break
    }
    if (this.#finished) await this.#enjoy()
    const closes = fate === 'close early' || (fate === 'close' && this.#finished)
    await this.#end(closes ? 'Close-Session' : 'Cancel-Session')
    this.#agent?.agent.destroy()
    this.#stage.leave(this)
  }

  /** Looks at the session's files. The server is dead, or at least no packet of this client is being worked on. */
  inspect(): void {
    if (this.#stage.isExact) this.#overtaken = false
    if (this.#id === '' || this.#ending || this.isExpired) return
    const { file } = this.#plan
    const { record, part, file: published } = this.paths
    const bytes = contentOf(part)
    if (!existsSync(record)) this.#complain('its record is lost')
    if (bytes) {
      if (!bytes.equals(file.subarray(0, bytes.length))) this.#complain('its part holds other bytes')
      if (bytes.length < this.#acked) this.#complain(`only ${bytes.length} bytes are left`)
      if (bytes.length > this.#sent) this.#complain(`${bytes.length} bytes are there`)
      this.#onDisk = bytes.length
    } else if (!this.#finished) {
      const isPublished = this.#sent === file.length && contentOf(published)?.equals(file)
      if (!isPublished && this.#acked > 0) this.#complain('its part is lost')
      this.#onDisk = isPublished ? file.length : 0
    }
    this.#story.push(`a server was killed, ${this.#onDisk ?? 'all'} bytes were on disk`)
  }

  checkFile(): void {
    const problem = this.#stage.ledger.check(this.name)
    if (problem) this.#complain(problem)
  }

  async #create(): Promise<void> {
    const fields = { 'BITS-Supported-Protocols': UploadProtocol, 'Content-Length': 0 }
    let answer: Answer | undefined
    while (!answer) answer = await this.#exchange('Create-Session', 'creating', fields)
    if (answer.status !== 200) this.#complain(`Create-Session was answered ${describe(answer)}`)
    this.#id = String(answer.headers['bits-session-id'])
    this.#stage.ids.add(this.#id)
    this.#acked = this.#sent = 0
    this.#onDisk = undefined
    this.isExpired = false
  }

  /** Sends one fragment. Returns false when there is no use in another. */
  async #advance(): Promise<boolean> {
    const { file } = this.#plan
    // Now, and not when all is decided: while it is waited for a server may die, and its disk be looked at.
    const target = await this.#stage.server(this.#random)
    const range = this.#probe() ?? this.#range()
    const { first, end, cut } = range
    const onDisk = this.#onDisk
    this.#onDisk = undefined
    this.#sent = Math.max(this.#sent, cut ?? end)
    const isLast = cut === undefined && end === file.length
    if (isLast && !this.#nameTaken) this.#stage.ledger.mayAppear(this.name, file)
    const total = file.length
    const fields = {
      'BITS-Session-Id': this.#id,
      'Content-Range': total === 0 ? 'bytes */0' : `bytes ${first}-${end - 1}/${total}`,
      'Content-Length': end - first,
    }
    if (cut !== undefined) this.#overtaken = true
    const body = file.subarray(first, cut ?? end)
    const answer = await this.#exchange('Fragment', isLast ? 'last' : 'sending', fields, {
      body,
      cut,
      target,
    })
    // Some lose heart when only the server knows whether the file is published.
    if (!answer) return !isLast || this.#random.chance(0.85)
    return this.#judge(answer, range, onDisk)
  }

  /** A packet that changes nothing, sent after a restart: what the server tells must be what was on disk. */
  #probe(): Range | undefined {
    const held = this.#onDisk
    if (held === undefined || !this.#stage.isExact || this.#random.chance(0.4)) return undefined
    if (held > 0) return { first: 0, end: 1, isProbe: true }
    return this.#plan.file.length > 1 ? { first: 1, end: 2, isProbe: true } : undefined
  }

  #range(): Range {
    const random = this.#random
    const { length } = this.#plan.file
    if (length === 0) return { first: 0, end: 0 }
    let first = Math.min(this.#acked, length - 1)
    if (random.chance(0.12)) first -= random.below(Math.min(first, 50_000) + 1)
    else if (random.chance(0.04)) first += random.below(Math.min(length - first, 1000))
    const rest = length - first
    const size = random.chance(0.15)
      ? rest
      : 1 + random.below(Math.min(rest, random.chance(0.1) ? 100 : 200_000))
    const end = first + size
    const cut = random.chance(0.06) ? first + random.below(size) : undefined
    return { first, end, ...(cut !== undefined && { cut }) }
  }

  async #judge(answer: Answer, range: Range, onDisk: number | undefined): Promise<boolean> {
    const { file } = this.#plan
    const { first, end, isProbe } = range
    const now = received(answer)
    const wrong = (): void =>
      this.#complain(`bytes ${first}-${end - 1}, ${onDisk} on disk: answered ${describe(answer)}`)
    if (hresult(answer) === SessionNotFound && this.isExpired) {
      await this.#create()
      return true
    }
    if (answer.status === 403 && this.#nameTaken && now === file.length) return false
    if (answer.status !== 200 && answer.status !== 416) wrong()
    if (answer.status === 416 && first <= now && !this.#overtaken) wrong()
    if (answer.status === 200 && now < end) wrong()
    if (now < Math.max(this.#acked, onDisk ?? 0) || now > this.#sent) wrong()
    if (isProbe && now !== onDisk) wrong()
    // An Ack read after the server's death: it promised what was on disk then.
    if (this.#stage.isExact && this.#onDisk !== undefined && now > this.#onDisk) wrong()
    if (onDisk !== undefined) this.#stage.counts.resumed += 1
    this.#acked = now
    // To a client it is all the same which status says that all bytes are there.
    if (now < file.length) return true
    if (this.#nameTaken) wrong()
    this.#finished = true
    this.#stage.ledger.mustBe(this.name, file)
    this.checkFile()
    return true
  }

  /** Somebody else publishes under the name first. */
  #takeName(): void {
    if (this.#nameTaken || this.#sent === this.#plan.file.length) return
    this.#nameTaken = true
    writeFileSync(this.paths.file, Marker, { flag: 'wx' })
    this.#stage.ledger.mustBe(this.name, Marker)
  }

  /** The client saw success. What becomes of the file now is nothing to the server, which may not bring it back. */
  async #enjoy(): Promise<void> {
    const { file } = this.#plan
    const choice = this.#random.below(4)
    if (choice < 3) {
      unlinkSync(this.paths.file)
      if (choice === 0) writeFileSync(this.paths.file, Marker)
      this.#stage.ledger.mustBe(this.name, choice === 0 ? Marker : undefined)
    }
    if (!this.#random.chance(0.4)) return
    const first = Math.max(0, file.length - 1)
    const fields = {
      'BITS-Session-Id': this.#id,
      'Content-Range': file.length === 0 ? 'bytes */0' : `bytes ${first}-${first}/${file.length}`,
      'Content-Length': file.length - first,
    }
    const answer = await this.#exchange('Fragment', 'last', fields, { body: file.subarray(first) })
    if (answer && (answer.status !== 200 || received(answer) !== file.length)) {
      this.#complain(`its last fragment again was answered ${describe(answer)}`)
    }
    this.checkFile()
  }

  async #end(type: 'Close-Session' | 'Cancel-Session'): Promise<void> {
    this.#ending = true
    const fields = { 'BITS-Session-Id': this.#id, 'Content-Length': 0 }
    let answer = await this.#exchange(type, 'ending', fields)
    const isFirst = answer !== undefined
    while (!answer) answer = await this.#exchange(type, 'ending', fields)
    const isGone = hresult(answer) === SessionNotFound && (!isFirst || this.isExpired)
    // A first fragment was begun and killed before it could make the part, or a Close between part and record.
    const isEmpty = type === 'Close-Session' && answer.status === 404 && (this.#acked === 0 || !isFirst)
    if (answer.status !== 200 && !isGone && !isEmpty) {
      this.#complain(`${type} was answered ${describe(answer)}`)
    }
    if (this.isOnDisk && this.#stage.isExact) this.#complain(`${type} left its files`)
    this.checkFile()
  }

  /** Sends a packet. Undefined, if the connection broke: because the server was killed, or by the client's own hand. */
  async #exchange(
    type: string,
    moment: Moment,
    fields: OutgoingHttpHeaders,
    { body = Buffer.alloc(0), cut, target: chosen }: Sending = {},
  ): Promise<Answer | undefined> {
    const stage = this.#stage
    const target = chosen ?? (await stage.server(this.#random))
    const { epoch } = target
    const before = sight(this.paths)
    const outgoing = begin(new URL(this.name, target.url), type, {
      ...this.#connection(target),
      headers: { ...fields, ...(this.#plan.overwrite && { 'X-Overwrite': 'yes' }) },
    })
    let error: Error | undefined
    const answered = answerTo(outgoing).catch((reason: Error) => {
      error = reason
      return undefined
    })
    stage.counts.packets += 1
    const range = fields['Content-Range'] ?? ''
    this.#story.push(
      `> ${type} ${range}${cut === undefined ? '' : `, cut at ${cut}`} (server's life ${epoch})`,
    )
    for (let at = 0; at < body.length; ) {
      const piece = this.#random.chance(0.5) ? body.length : 1 + this.#random.below(65_536)
      const bytes = body.subarray(at, at + piece)
      at += piece
      if (cut !== undefined && at >= body.length) outgoing.write(bytes, () => outgoing.destroy())
      else outgoing.write(bytes)
      await new Promise(setImmediate)
    }
    const now = moment === 'ending' && before.part !== '' ? 'removing' : moment
    if (cut === undefined) outgoing.end(() => stage.tell(now, this, target, epoch, before))
    else if (body.length === 0) outgoing.destroy()
    const answer = await answered
    this.#story.push(`< ${answer ? describe(answer) : error?.message} (server's life ${target.epoch})`)
    if (error && epoch === target.epoch && cut === undefined && !outgoing.reusedSocket) {
      this.#complain(`the connection broke in ${type}: ${error.message}`)
    }
    if (answer && type === 'Fragment') {
      const isFinal = received(answer) === this.#plan.file.length
      // Before the client itself knows: what it was told must be there at this very instant.
      this.#overhear(answer)
      stage.tell(isFinal ? 'final' : 'ack', this, target, epoch, before)
    }
    return answer
  }

  /** What an Ack says counts from the moment it is read. */
  #overhear(answer: Answer): void {
    if (answer.status === 200 && received(answer) <= this.#sent) {
      this.#acked = Math.max(this.#acked, received(answer))
    }
  }

  #connection(target: Target): { agent?: Agent } {
    if (!this.#stage.isExact || this.#random.chance(0.1)) return {}
    const url = String(target.url)
    if (this.#agent?.url !== url || this.#agent.epoch !== target.epoch) {
      this.#agent?.agent.destroy()
      this.#agent = { url, epoch: target.epoch, agent: new Agent({ keepAlive: true, maxSockets: 1 }) }
    }
    return { agent: this.#agent.agent }
  }

  #complain(text: string): void {
    this.#stage.report(`${this}: ${text}\n${this.#story.slice(-20).join('\n')}`)
  }
}

interface Sending {
  readonly body?: Buffer
  readonly cut?: number | undefined
  readonly target?: Target
}

interface Range {
  readonly first: number
  /** Exclusive. */
  readonly end: number
  /** Where the client hangs up. */
  readonly cut?: number
  readonly isProbe?: boolean
}

const describe = (answer: Answer): string => `${answer.status} ${received(answer)} ${hresult(answer) ?? ''}`
