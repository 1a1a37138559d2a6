import { existsSync, unlinkSync, writeFileSync } from 'node:fs'
import { Agent, type OutgoingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { type Answer, answerTo, begin, hresult, received } from '../support/client.ts'
import { SocketAgent } from '../support/container.ts'
import type { Campaign, Target } from './campaign.ts'
import { readIfExists } from './expected-files.ts'
import { fileStates, type SessionPaths, type Step } from './kill-timing.ts'
import type { Random } from './random.ts'

export interface Plan {
  readonly name: string
  readonly file: Buffer
  readonly overwrite: boolean
  /** How the client ends its session. With `name taken` another file is published under the name first. */
  readonly ending: 'close' | 'cancel' | 'close early' | 'name taken'
}

const SessionNotFound = '0x8020001F'
/** The contents of files that the test itself creates under the name of an upload. */
const OtherFile = Buffer.from('not an upload')

/**
 * One upload by a client that behaves like the one of Windows: it continues after its own last Ack, obeys the
 * offset in each answer, and starts again when its session is unknown. It also repeats bytes, leaves gaps,
 * and closes the connection during a fragment. It checks each answer against what it has sent and received
 * before.
 */
export class Upload {
  readonly name: string
  isExpired = false
  readonly #campaign: Campaign
  readonly #random: Random
  readonly #plan: Plan
  #id = ''
  /** Bytes that the server has acknowledged. */
  #acked = 0
  /** Bytes that the server may hold. */
  #sent = 0
  #finished = false
  #ending = false
  #nameTaken = false
  /** What happened, for error messages. */
  readonly #log: string[] = []
  /**
   * Whether the server may read a fragment that was cut off after the fragment that followed it, and
   * interrupt that one.
   */
  #mayBeInterrupted = false
  /** Bytes that were on disk when the server was down, until a packet is sent after its restart. */
  #onDisk: number | undefined
  #agent: Connection | undefined

  constructor(campaign: Campaign, random: Random, plan: Plan) {
    this.#campaign = campaign
    this.#random = random
    this.#plan = plan
    this.name = plan.name
  }

  toString(): string {
    const { file, overwrite, ending } = this.#plan
    const more = `${overwrite ? 'overwrite, ' : ''}${ending}, sent ${this.#sent}, acked ${this.#acked}`
    return `${this.name} ${this.#id} (${file.length} bytes, ${more})`
  }

  get paths(): SessionPaths {
    const { sessionDirectory, directory } = this.#campaign
    return {
      journal: join(sessionDirectory, `${this.#id}.json`),
      part: join(sessionDirectory, `${this.#id}.part`),
      replacement: join(sessionDirectory, `${this.#id}.out`),
      file: join(directory, this.name),
    }
  }

  get isOnDisk(): boolean {
    const { journal, part, replacement } = this.paths
    return [journal, part, replacement].some((path) => existsSync(path))
  }

  /** Whether a sweep may remove the session. False if the file may be published already. */
  get mayExpire(): boolean {
    if (this.#id === '' || this.#ending || this.isExpired || this.#nameTaken) return false
    return this.#sent < this.#plan.file.length
  }

  async run(): Promise<void> {
    const { file, ending } = this.#plan
    this.#campaign.uploads.add(this)
    await this.#create()
    // May be the whole file.
    const enough = ending === 'close' ? file.length : this.#random.below(file.length + 1)
    while (!this.#finished) {
      if (ending !== 'close' && this.#acked >= enough) {
        if (ending !== 'name taken') break
        this.#takeName()
      }
      if (!(await this.#advance())) break
    }
    if (this.#finished) await this.#afterSuccess()
    // Close-Session of a session that holds no bytes would publish an empty file.
    const closesEarly = ending === 'close early' && this.#acked > 0
    const closes = closesEarly || (ending === 'close' && this.#finished)
    await this.#end(closes ? 'Close-Session' : 'Cancel-Session')
    this.#agent?.agent.destroy()
    this.#campaign.onEnd(this)
  }

  /** Checks the session's files. The server is down, or at least handles no packet of this client. */
  inspect(): void {
    if (this.#campaign.hasOneServer) this.#mayBeInterrupted = false
    if (this.#id === '' || this.#ending || this.isExpired) return
    const { file } = this.#plan
    const { journal, part, file: published } = this.paths
    const bytes = readIfExists(part)
    if (!existsSync(journal)) this.#report('its journal is lost')
    if (bytes) {
      if (!bytes.equals(file.subarray(0, bytes.length))) this.#report('its part file has wrong bytes')
      if (bytes.length < this.#acked) this.#report(`only ${bytes.length} bytes remain`)
      if (bytes.length > this.#sent) this.#report(`${bytes.length} bytes are stored`)
      this.#onDisk = bytes.length
    } else if (!this.#finished) {
      const isPublished = this.#sent === file.length && readIfExists(published)?.equals(file)
      if (!isPublished && this.#acked > 0) this.#report('its part file is lost')
      this.#onDisk = isPublished ? file.length : 0
    }
    this.#log.push(`a server was killed, ${this.#onDisk ?? 'all'} bytes were on disk`)
  }

  checkFile(): void {
    const problem = this.#campaign.files.check(this.name)
    if (problem) this.#report(problem)
  }

  async #create(): Promise<void> {
    const fields = { 'BITS-Supported-Protocols': UploadProtocol, 'Content-Length': 0 }
    let answer: Answer | undefined
    while (!answer) answer = await this.#exchange('Create-Session', 'creating', fields)
    if (answer.status !== 200) this.#report(`Create-Session was answered ${describe(answer)}`)
    this.#id = String(answer.headers['bits-session-id'])
    this.#campaign.ids.add(this.#id)
    this.#acked = this.#sent = 0
    this.#onDisk = undefined
    this.isExpired = false
  }

  /** Sends one fragment. Resolves to false when the upload must end. */
  async #advance(): Promise<boolean> {
    const { file } = this.#plan
    // First, because a server may be killed, and the files inspected, while this waits.
    const target = await this.#campaign.server(this.#random)
    const range = this.#probe() ?? this.#range()
    const { first, end, cut } = range
    const onDisk = this.#onDisk
    this.#onDisk = undefined
    this.#sent = Math.max(this.#sent, cut ?? end)
    const isLast = cut === undefined && end === file.length
    if (isLast && !this.#nameTaken) this.#campaign.files.allow(this.name, file)
    const total = file.length
    const fields = {
      'BITS-Session-Id': this.#id,
      'Content-Range': total === 0 ? 'bytes */0' : `bytes ${first}-${end - 1}/${total}`,
      'Content-Length': end - first,
    }
    if (cut !== undefined) this.#mayBeInterrupted = true
    const body = file.subarray(first, cut ?? end)
    const answer = await this.#exchange('Fragment', isLast ? 'last' : 'sending', fields, {
      body,
      cut,
      target,
    })
    // Some clients give up when the Ack of the last fragment is lost: the file may be published or not.
    if (!answer) return !isLast || this.#random.chance(0.85)
    return this.#checkAnswer(answer, range, onDisk)
  }

  /**
   * A fragment that changes nothing, sent after a restart: the offset in the Ack must be the bytes that were
   * on disk.
   */
  #probe(): Range | undefined {
    const onDisk = this.#onDisk
    if (onDisk === undefined || !this.#campaign.hasOneServer || this.#random.chance(0.4)) return undefined
    if (onDisk > 0) return { first: 0, end: 1, isProbe: true }
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

  async #checkAnswer(answer: Answer, range: Range, onDisk: number | undefined): Promise<boolean> {
    const { file } = this.#plan
    const { first, end, isProbe } = range
    const now = received(answer)
    const reportAnswer = (): void =>
      this.#report(`bytes ${first}-${end - 1}, ${onDisk} on disk: answered ${describe(answer)}`)
    if (hresult(answer) === SessionNotFound && this.isExpired) {
      await this.#create()
      return true
    }
    if (answer.status === 403 && this.#nameTaken && now === file.length) return false
    if (answer.status !== 200 && answer.status !== 416) reportAnswer()
    if (answer.status === 416 && first <= now && !this.#mayBeInterrupted) reportAnswer()
    if (answer.status === 200 && now < end) reportAnswer()
    if (now < Math.max(this.#acked, onDisk ?? 0) || now > this.#sent) reportAnswer()
    if (isProbe && now !== onDisk) reportAnswer()
    // An Ack that is read after the kill was sent before it, so its bytes must have been on disk.
    if (this.#campaign.hasOneServer && this.#onDisk !== undefined && now > this.#onDisk) reportAnswer()
    if (onDisk !== undefined) this.#campaign.counts.resumed += 1
    this.#acked = now
    // A client treats any status with an offset at the end of the file as success.
    if (now < file.length) return true
    if (this.#nameTaken) reportAnswer()
    this.#finished = true
    this.#campaign.files.require(this.name, file)
    this.checkFile()
    return true
  }

  /** Creates another file under the name before the upload is published. */
  #takeName(): void {
    if (this.#nameTaken || this.#sent === this.#plan.file.length) return
    this.#nameTaken = true
    writeFileSync(this.paths.file, OtherFile, { flag: 'wx' })
    this.#campaign.files.require(this.name, OtherFile)
  }

  /** After the final Ack the file may be removed or replaced. The server must not publish it again. */
  async #afterSuccess(): Promise<void> {
    const { file } = this.#plan
    const choice = this.#random.below(4)
    if (choice < 3) {
      unlinkSync(this.paths.file)
      if (choice === 0) writeFileSync(this.paths.file, OtherFile)
      this.#campaign.files.require(this.name, choice === 0 ? OtherFile : undefined)
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
      this.#report(`its repeated last fragment was answered ${describe(answer)}`)
    }
    this.checkFile()
  }

  async #end(type: 'Close-Session' | 'Cancel-Session'): Promise<void> {
    this.#ending = true
    const fields = { 'BITS-Session-Id': this.#id, 'Content-Length': 0 }
    let answer = await this.#exchange(type, 'ending', fields)
    const isFirst = answer !== undefined
    while (!answer) answer = await this.#exchange(type, 'ending', fields)
    const isUnknown = hresult(answer) === SessionNotFound && (!isFirst || this.isExpired)
    // The server was killed before the first fragment created the part file, or while Close-Session removed
    // the files.
    const isEmpty = type === 'Close-Session' && answer.status === 404 && (this.#acked === 0 || !isFirst)
    if (answer.status !== 200 && !isUnknown && !isEmpty) {
      this.#report(`${type} was answered ${describe(answer)}`)
    }
    if (this.isOnDisk && this.#campaign.hasOneServer) this.#report(`${type} did not remove its files`)
    this.checkFile()
  }

  /** Sends a packet. Resolves to undefined if the server was killed or the client closed the connection. */
  async #exchange(
    type: string,
    step: Step,
    fields: OutgoingHttpHeaders,
    { body = Buffer.alloc(0), cut, target: chosen }: Sending = {},
  ): Promise<Answer | undefined> {
    const campaign = this.#campaign
    const target = chosen ?? (await campaign.server(this.#random))
    const { epoch } = target
    const before = fileStates(this.paths)
    const outgoing = begin(new URL(this.name, target.url), type, {
      ...this.#connection(target),
      headers: { ...fields, ...(this.#plan.overwrite && { 'X-Overwrite': 'yes' }) },
    })
    let error: Error | undefined
    const answered = answerTo(outgoing).catch((reason: Error) => {
      error = reason
      return undefined
    })
    campaign.counts.packets += 1
    const range = fields['Content-Range'] ?? ''
    this.#log.push(`> ${type} ${range}${cut === undefined ? '' : `, cut at ${cut}`} (server epoch ${epoch})`)
    for (let at = 0; at < body.length; ) {
      const piece = this.#random.chance(0.5) ? body.length : 1 + this.#random.below(65_536)
      const bytes = body.subarray(at, at + piece)
      at += piece
      if (cut !== undefined && at >= body.length) outgoing.write(bytes, () => outgoing.destroy())
      else outgoing.write(bytes)
      await new Promise(setImmediate)
    }
    const now = step === 'ending' && before.part !== '' ? 'removing' : step
    if (cut === undefined) outgoing.end(() => campaign.onStep(now, this, target, epoch, before))
    else if (body.length === 0) outgoing.destroy()
    const answer = await answered
    this.#log.push(`< ${answer ? describe(answer) : error?.message} (server epoch ${target.epoch})`)
    if (error && epoch === target.epoch && cut === undefined && !outgoing.reusedSocket) {
      this.#report(`the connection broke in ${type}: ${error.message}`)
    }
    if (answer && type === 'Fragment') {
      const isFinal = received(answer) === this.#plan.file.length
      // Before the kill: the acknowledged bytes must be on disk from this moment.
      this.#noteAck(answer)
      campaign.onStep(isFinal ? 'final' : 'ack', this, target, epoch, before)
    }
    return answer
  }

  /** Bytes count as acknowledged from the moment when the Ack is read. */
  #noteAck(answer: Answer): void {
    if (answer.status === 200 && received(answer) <= this.#sent) {
      this.#acked = Math.max(this.#acked, received(answer))
    }
  }

  #connection(target: Target): { agent?: Agent } {
    const { epoch, socketPath } = target
    const url = String(target.url)
    if (socketPath !== undefined) return this.#keep({ url, epoch, agent: new SocketAgent(socketPath) })
    if (!this.#campaign.hasOneServer || this.#random.chance(0.1)) return {}
    if (this.#agent?.url === url && this.#agent.epoch === epoch) return this.#agent
    return this.#keep({ url, epoch, agent: new Agent({ keepAlive: true, maxSockets: 1 }) })
  }

  /** Ends the connection that was used before. */
  #keep(connection: Connection): Connection {
    this.#agent?.agent.destroy()
    this.#agent = connection
    return connection
  }

  #report(text: string): void {
    this.#campaign.report(`${this}: ${text}\n${this.#log.slice(-20).join('\n')}`)
  }
}

/** A connection to a server that has not been killed since. */
interface Connection {
  readonly url: string
  readonly epoch: number
  readonly agent: Agent
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
  /** The offset at which the client closes the connection. */
  readonly cut?: number
  readonly isProbe?: boolean
}

const describe = (answer: Answer): string => `${answer.status} ${received(answer)} ${hresult(answer) ?? ''}`
