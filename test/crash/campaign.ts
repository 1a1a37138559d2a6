import { existsSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { Container } from '../support/container.ts'
import { withResolvers } from '../support/promise.ts'
import { ExpectedFiles } from './expected-files.ts'
import { chooseTiming, type FileStates, type KillTiming, type Step, waitForKillTime } from './kill-timing.ts'
import { Random } from './random.ts'
import { RestartingServer } from './restarting-server.ts'
import type { Upload } from './upload.ts'

/** The server to which a client sends a packet. */
export interface Target {
  readonly url: URL
  /** The socket file at which it listens, if it runs in a container. */
  readonly socketPath: string | undefined
  /** How many times it was killed. A connection that breaks within one epoch was not broken by a kill. */
  readonly epoch: number
}

class CampaignServer implements Target {
  readonly server: RestartingServer
  epoch = 0
  isUp = true

  constructor(server: RestartingServer) {
    this.server = server
  }

  get url(): URL {
    return this.server.url
  }

  get socketPath(): string | undefined {
    return this.server.socketPath
  }
}

/** How many ended uploads stay in the directory and are checked after each kill. */
const MaxRecentNames = 40
const OldFileAgeMs = 20 * 24 * 60 * 60 * 1000

/** The state that clients and servers share. Kills servers, and checks the directory while they are down. */
export class Campaign {
  readonly directory: string
  readonly sessionDirectory: string
  readonly files: ExpectedFiles
  readonly random: Random
  /** Uploads that have not ended. */
  readonly uploads = new Set<Upload>()
  /** Every session id that a client received. */
  readonly ids = new Set<string>()
  readonly counts = { kills: 0, uploads: 0, packets: 0, expired: 0, resumed: 0 }
  problem: string | undefined
  /** Names of ended uploads, the oldest first. */
  readonly #recentNames: string[] = []
  readonly #maxKills: number
  #servers: CampaignServer[] = []
  #timing: KillTiming | undefined
  #someServerUp = withResolvers<void>()
  readonly #failed = withResolvers<void>()
  /** Kills whose servers have not restarted yet. */
  readonly #restarts = new Set<Promise<void>>()

  constructor(directory: string, seed: number, kills: number) {
    this.directory = directory
    this.sessionDirectory = join(directory, '.bits-sessions')
    this.files = new ExpectedFiles(directory)
    this.random = new Random(seed)
    this.#maxKills = kills
  }

  /** @param inContainers whether each server runs in a container of its own */
  async start(servers: number, inContainers: boolean): Promise<void> {
    for (let i = 0; i < servers; i += 1) {
      const container = inContainers ? await Container.start(this.directory) : undefined
      this.#servers.push(new CampaignServer(await RestartingServer.start(this.directory, { container })))
    }
    this.#timing = chooseTiming(this.random)
  }

  /** Whether clients must begin no more uploads. */
  get isOver(): boolean {
    return this.counts.kills >= this.#maxKills || this.problem !== undefined
  }

  /**
   * Whether only one process uses the directory. Then its first answer must match the files found while it
   * was down.
   */
  get hasOneServer(): boolean {
    return this.#servers.length === 1
  }

  /** Resolves to a random server that is up, as soon as there is one. */
  async server(random: Random): Promise<Target> {
    for (;;) {
      const [first, ...more] = this.#servers.filter(({ isUp }) => isUp)
      if (first) return random.pick([first, ...more])
      await this.#someServerUp.promise
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

  /** Called by the clients after each step, and kills the server if the time for that has come. */
  onStep(step: Step, upload: Upload, target: Target, epoch: number, before: FileStates): void {
    const timing = this.#timing
    if (!timing || target.epoch !== epoch || (timing.step !== 'any' && timing.step !== step)) return
    this.#timing = { ...timing, count: timing.count - 1 }
    if (timing.count > 1) return
    this.#timing = undefined
    waitForKillTime(timing, upload.paths, before)
    const restart = this.#kill(target as CampaignServer).catch((error) => this.report(String(error)))
    this.#restarts.add(restart)
    void restart.then(() => this.#restarts.delete(restart))
  }

  async #kill(killed: CampaignServer): Promise<void> {
    killed.epoch += 1
    killed.isUp = false
    if (this.#servers.every(({ isUp }) => !isUp)) this.#someServerUp = withResolvers()
    await killed.server.kill()
    this.counts.kills += 1
    // Sometimes another server is killed before this one has restarted.
    const overlaps = !this.hasOneServer && this.random.chance(0.2) && !this.isOver
    if (overlaps) this.#timing = chooseTiming(this.random)
    this.#inspect()
    const expired = this.hasOneServer && this.random.chance(0.1) ? this.#expireOne() : undefined
    await killed.server.restart()
    const swept = expired || this.random.chance(0.2) ? await killed.server.sweep() : undefined
    if (typeof swept === 'string') this.report(`A sweep failed: ${swept}`)
    if (expired?.isOnDisk) this.report(`${expired}: a sweep did not remove the expired session`)
    killed.isUp = true
    this.#someServerUp.resolve()
    if (!overlaps && !this.isOver) this.#timing = chooseTiming(this.random)
  }

  #inspect(): void {
    for (const upload of this.uploads) {
      upload.inspect()
      upload.checkFile()
    }
    for (const name of this.#recentNames) this.#check(name)
  }

  /**
   * Called when an upload has ended. Its file is checked after some more kills, then removed, and must not
   * reappear.
   */
  onEnd(upload: Upload): void {
    this.uploads.delete(upload)
    this.counts.uploads += 1
    this.#recentNames.push(upload.name)
    const oldest = this.#recentNames.length > MaxRecentNames ? this.#recentNames.shift() : undefined
    if (
      oldest === undefined ||
      this.#recentNames.includes(oldest) ||
      [...this.uploads].some(({ name }) => name === oldest)
    ) {
      return
    }
    this.#check(oldest)
    rmSync(join(this.directory, oldest), { force: true })
    this.files.require(oldest, undefined)
  }

  #check(name: string): void {
    const problem = this.files.check(name)
    if (problem) this.report(problem)
  }

  /** Makes one session so old that the next sweep removes it, but none that may have been published. */
  #expireOne(): Upload | undefined {
    const [first, ...more] = [...this.uploads].filter((upload) => upload.mayExpire)
    if (!first) return undefined
    const upload = this.random.pick([first, ...more])
    upload.isExpired = true
    makeOld(upload.paths.journal)
    makeOld(upload.paths.part)
    this.counts.expired += 1
    return upload
  }

  /**
   * Called when all clients are done. Sweeps the sessions that crashes left, and checks that only the files
   * remain.
   */
  async end(): Promise<void> {
    await Promise.all(this.#restarts)
    for (const name of this.files.names()) this.#check(name)
    const sessionFiles = existsSync(this.sessionDirectory)
      ? readdirSync(this.sessionDirectory).filter((name) => name !== 'locks')
      : []
    for (const name of sessionFiles) {
      if (this.ids.has(name.split('.')[0] as string)) this.report(`${name} exists after its session ended`)
      // The Ack of Create-Session was lost, so that the client has no id for it.
      makeOld(join(this.sessionDirectory, name))
    }
    await Promise.all(this.#servers.map(({ server }) => server.sweep()))
    const entries = readdirSync(this.directory, { recursive: true, withFileTypes: true })
    for (const entry of entries) {
      if (entry.isDirectory()) continue
      const name = join(entry.parentPath, entry.name).slice(this.directory.length + 1)
      // The sockets of the servers stay, the lock files of sessions do not.
      if (/^\.bits-sessions\/locks\/[\w-]+\.(socket|machine)$/.test(name)) continue
      if (!this.files.mayExist(name)) this.report(`${name} exists after the sweep`)
    }
  }
}

function makeOld(path: string): void {
  const time = new Date(Date.now() - OldFileAgeMs)
  if (existsSync(path)) utimesSync(path, time, time)
}
