import { existsSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { withResolvers } from '../support/promise.ts'
import { type Aim, holdBreath, type Moment, type sight, takeAim } from './aim.ts'
import { Ledger } from './ledger.ts'
import { Random } from './random.ts'
import type { Upload } from './upload.ts'
import { Victim } from './victim.ts'

/** A server as its clients know it. */
export interface Target {
  readonly url: URL
  /** How many times it was killed: a connection that broke under the same number broke by itself. */
  readonly epoch: number
}

class Killable implements Target {
  readonly victim: Victim
  epoch = 0
  isUp = true

  constructor(victim: Victim) {
    this.victim = victim
  }

  get url(): URL {
    return this.victim.url
  }
}

/** Where clients and servers meet: kills servers, and looks at the directory while they are dead. */
export class Stage {
  readonly directory: string
  readonly sessions: string
  readonly ledger: Ledger
  readonly random: Random
  /** Sessions whose clients still care. */
  readonly uploads = new Set<Upload>()
  /** Every id that a client ever got an Ack for. */
  readonly ids = new Set<string>()
  readonly counts = { kills: 0, uploads: 0, packets: 0, expired: 0, resumed: 0 }
  problem: string | undefined
  /** Names whose uploads are over, the oldest first. */
  readonly #recent: string[] = []
  readonly #kills: number
  #servers: Killable[] = []
  #aim: Aim | undefined
  #someUp = withResolvers<void>()
  readonly #failed = withResolvers<void>()
  /** Kills whose servers are not back yet. */
  readonly #comingBack = new Set<Promise<void>>()

  constructor(directory: string, seed: number, kills: number) {
    this.directory = directory
    this.sessions = join(directory, '.bits-sessions')
    this.ledger = new Ledger(directory)
    this.random = new Random(seed)
    this.#kills = kills
  }

  async open(servers: number): Promise<void> {
    for (let i = 0; i < servers; i += 1) {
      this.#servers.push(new Killable(await Victim.start(this.directory)))
    }
    this.#aim = takeAim(this.random)
  }

  /** Whether clients are to begin no more uploads. */
  get isOver(): boolean {
    return this.counts.kills >= this.#kills || this.problem !== undefined
  }

  /** Whether only one process ever has the directory: then what is there while it is dead is what it must tell. */
  get isExact(): boolean {
    return this.#servers.length === 1
  }

  /** A server that is up, as soon as there is one. */
  async server(random: Random): Promise<Target> {
    for (;;) {
      const up = this.#servers.filter(({ isUp }) => isUp)
      const [first, ...more] = up
      if (first) return random.pick([first, ...more])
      await this.#someUp.promise
    }
  }

  report(problem: string): void {
    this.problem ??= problem
    this.#failed.resolve()
  }

  /** Resolves when a problem was found. */
  get failed(): Promise<void> {
    return this.#failed.promise
  }

  /** Told by the clients what they just did: the kill falls on one of these. */
  tell(
    moment: Moment,
    upload: Upload,
    target: Target,
    epoch: number,
    before: ReturnType<typeof sight>,
  ): void {
    const aim = this.#aim
    if (!aim || target.epoch !== epoch || (aim.moment !== 'any' && aim.moment !== moment)) return
    this.#aim = { ...aim, count: aim.count - 1 }
    if (aim.count > 1) return
    this.#aim = undefined
    holdBreath(aim, upload.paths, before)
    const back = this.#kill(target as Killable).catch((error) => this.report(String(error)))
    this.#comingBack.add(back)
    void back.then(() => this.#comingBack.delete(back))
  }

  async #kill(server: Killable): Promise<void> {
    server.epoch += 1
    server.isUp = false
    if (this.#servers.every(({ isUp }) => !isUp)) this.#someUp = withResolvers()
    await server.victim.kill()
    this.counts.kills += 1
    this.#inspect()
    const expired = this.isExact && this.random.chance(0.1) ? this.#expireOne() : undefined
    await server.victim.restart()
    const swept = expired || this.random.chance(0.2) ? await server.victim.sweep() : undefined
    if (typeof swept === 'string') this.report(`A sweep failed: ${swept}`)
    if (expired?.isOnDisk) this.report(`${expired}: a sweep left it although it was too old`)
    server.isUp = true
    this.#someUp.resolve()
    if (!this.isOver) this.#aim = takeAim(this.random)
  }

  #inspect(): void {
    for (const upload of this.uploads) {
      upload.inspect()
      upload.checkFile()
    }
    for (const name of this.#recent) this.#check(name)
  }

  /** An upload is over. Its file is looked at for some kills more, then it goes, and must not come back. */
  leave(upload: Upload): void {
    this.uploads.delete(upload)
    this.counts.uploads += 1
    this.#recent.push(upload.name)
    const old = this.#recent.length > 40 ? this.#recent.shift() : undefined
    if (
      old === undefined ||
      this.#recent.includes(old) ||
      [...this.uploads].some(({ name }) => name === old)
    ) {
      return
    }
    this.#check(old)
    rmSync(join(this.directory, old), { force: true })
    this.ledger.mustBe(old, undefined)
  }

  #check(name: string): void {
    const problem = this.ledger.check(name)
    if (problem) this.report(problem)
  }

  /** Makes one session so old that the next sweep takes it; none of those that may have been published. */
  #expireOne(): Upload | undefined {
    const [first, ...more] = [...this.uploads].filter((upload) => upload.mayExpire)
    if (!first) return undefined
    const upload = this.random.pick([first, ...more])
    upload.isExpired = true
    age(upload.paths.record)
    age(upload.paths.part)
    this.counts.expired += 1
    return upload
  }

  /** When all clients are done: what crashes left is swept away, and then there is nothing but the files. */
  async close(): Promise<void> {
    await Promise.all(this.#comingBack)
    for (const name of this.ledger.names()) this.#check(name)
    const left = existsSync(this.sessions) ? readdirSync(this.sessions) : []
    for (const name of left) {
      if (this.ids.has(name.split('.')[0] as string)) this.report(`${name} outlived its session`)
      // Its client never learned of it: the Ack of Create-Session was lost.
      age(join(this.sessions, name))
    }
    await Promise.all(this.#servers.map(({ victim }) => victim.sweep()))
    const files = readdirSync(this.directory, { recursive: true, withFileTypes: true })
    for (const entry of files) {
      if (entry.isDirectory()) continue
      const name = join(entry.parentPath, entry.name).slice(this.directory.length + 1)
      if (!this.ledger.expects(name)) this.report(`${name} was left behind`)
    }
  }
}

function age(path: string): void {
  const long = new Date(Date.now() - 20 * 24 * 60 * 60 * 1000)
  if (existsSync(path)) utimesSync(path, long, long)
}
