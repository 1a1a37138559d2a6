/**
 * A model of the lock protocol in lib/locks/README.md: several processes and one lock. `explore` goes through all
 * orders of all steps, and checks that
 *
 * - no two processes hold the lock at once,
 * - each request that waits gets the lock, whatever happened before, or times out because a process is frozen,
 * - nothing is left behind when no process has a request.
 *
 * A step is one call of the file system, or one message that is sent or read. What a process does between two of
 * these is not visible to others, and belongs to the step before. The steps have the names of the calls in the code.
 *
 * A process makes several requests, one after the other, because its lock within the process admits one at a time. A
 * request waits for the lock (`acquire`), or does not (`tryAcquire`). A request that waits for a message can time
 * out, or be aborted. A process can crash at every step; the call of the file system that was in progress is then
 * carried out at any later time, or never. A process can be frozen at every step; the others continue without it.
 * Calls of the file system that fail with an unexpected error are not in the model, except the removal of a lock file.
 */

/** Where a process is. At the name of a call, the call is in progress. */
export const places = [
  /** Has no request. */
  'idle',
  'crashed',
  // process.ts, acquire
  /** The creator waits for the lock within its process. */
  'local: waits',
  // attempt.ts, tryWithLoan
  /** Has sent `borrow` or `try` to the creator. */
  'borrow: sent',
  /** The creator has answered that the lock is held. */
  'borrow: held',
  // attempt.ts, tryAsCreator and tryLockFile
  'holder: readdir',
  /** Connects to the process whose lock file it saw. */
  'holder: isRunning',
  // lock-files.ts, create
  'create: mkdir',
  'create: writeFile',
  'create: rename',
  'create: unlink',
  'create: rmdir',
  'create: rmdir folder',
  // lock-files.ts, replace
  'replace: rename',
  // lock-files.ts, remove: the creator removes the lock file of a holder that has exited.
  'remove: unlink',
  'remove: rmdir',
  /** The lock file was created or replaced, and the process has not yet learnt it. */
  'acquired',
  // attempt.ts, HolderWait
  /** Connects to the holder, to ask it for the lock. */
  'wait: connect',
  /** Has sent `wait`. */
  'wait: sent',
  /** The holder has read `wait`, and answers when it has released the lock. */
  'wait: waits',
  /** The holder has answered. */
  'wait: free',
  /** From the end of `acquire` to the call of `release`. */
  'holds',
  // attempt.ts, tryLockFile: release
  'release: unlink',
  'release: rmdir',
  'release: done',
  // lock-server.ts, removeUnusedFile: was asked for a lock that it does not hold.
  'unused: unlink',
  'unused: rmdir',
  // lock-files.ts, removeOrphans, before the first request
  'orphans: readdir',
  'orphans: isRunning',
  'orphans: unlink',
  'orphans: rmdir',
  'orphans: isRunning (prepared)',
  'orphans: unlink (prepared)',
  'orphans: rmdir (prepared)',
] as const

type Place = (typeof places)[number]

/** The places of a request that wants the lock, and does not have it. */
const wanting: ReadonlySet<Place> = new Set(
  places.filter((place) => /^(local|borrow|holder|create|replace|remove|acquired|wait)/.test(place)),
)
/** The places in which a process has registered its lock file (`addFileLock`). */
const registered: ReadonlySet<Place> = new Set(places.filter((place) => /^(holds|release)/.test(place)))
/** The calls that change the file system. */
const changing: ReadonlySet<Place> = new Set(
  places.filter((place) => /: (mkdir|writeFile|rename|unlink|rmdir)/.test(place)),
)

interface Process {
  readonly place: Place
  /** How many requests it will still make. */
  readonly requests: number
  /** Whether its request waits for the lock. */
  readonly waits: boolean
  /** Whether `onReleaseRequested` of its request was called. */
  readonly asked: boolean
  /** The process whose lock file it saw; of an unused file: the process that asked for it. */
  readonly seen: number | undefined
  /** The call in which it crashed, if that may still be carried out. In a mutant: a call that it does not wait for. */
  readonly late: Place | undefined
  /** The folder `<hash>.<tag>`, in which it prepares its lock file. */
  readonly prepared: Folder
}

/** A folder that has at most one file. */
type Folder = 'missing' | 'empty' | 'full'

/** A connection by which a process asks the creator for its lock. */
interface Loan {
  readonly borrower: number
  readonly waits: boolean
  /** Whether the borrower has not closed it. The creator notices the end later. */
  readonly isOpen: boolean
}

/** Instead of a loan: a request of the creator. */
const Own = 'own'

/** Everything that processes and directory remember between two steps. */
class State {
  processes: readonly Process[]
  /** The processes that have a file in the folder `<hash>`; undefined: there is no folder. */
  files: readonly number[] | undefined
  /** The connections to the creator whose query it has not read, in any order. */
  unread: readonly Loan[]
  /** The lock within the creator: the first entry holds it, the others wait in this order. */
  local: readonly (Loan | typeof Own)[]

  constructor({ processes, files, unread, local }: Pick<State, 'processes' | 'files' | 'unread' | 'local'>) {
    this.processes = processes
    this.files = files
    this.unread = unread
    this.local = local
  }

  process(p: number): Process {
    return this.processes[p] as Process
  }

  isRunning(p: number): boolean {
    return this.process(p).place !== 'crashed'
  }

  change(p: number, changes: Partial<Process>): void {
    this.processes = this.processes.with(p, { ...this.process(p), ...changes })
  }
}

/** The process that created the session. */
const creator = 0

export interface Variant {
  /** How many requests each process makes, one after the other. */
  readonly requests: readonly number[]
  /** Whether the first process has created the session. Otherwise the creator had exited before. */
  readonly creatorRuns: boolean
  /** Whether the last process starts, and removes what exited processes left behind, before its requests. */
  readonly lastStarts?: boolean
  /** Whether a folder cannot be renamed to an empty one, as on Windows. */
  readonly isWindows?: boolean
  /**
   * Whether a process can fail to remove its lock file after its last request. If it has another request, those who
   * wait for the lock of the file can time out.
   */
  readonly unlinkFails?: boolean
  readonly mutant?: Mutant | undefined
}

export type Violation = 'two holders' | 'stuck' | 'left behind'

/** Faults that the protocol could have, and the violation that each of them causes. */
export const mutants = {
  'creates the lock file without asking the creator': 'two holders',
  'ends the loan before it creates the lock file': 'two holders',
  'replaces the lock file of an exited process without asking the creator': 'two holders',
  'takes a creator that does not answer for exited': 'two holders',
  'ignores that the creator holds the lock': 'two holders',
  'replaces the lock file of a running process': 'two holders',
  'takes a holder that does not answer for exited': 'two holders',
  'replaces whatever lock file is there': 'two holders',
  'creates the lock file in a folder that exists': 'two holders',
  'removes the folder with its content': 'two holders',
  'removes orphans without asking whether their process runs': 'two holders',
  'removes an unused lock file without the lock within the process': 'two holders',
  'releases the lock within the process before it removes the lock file': 'two holders',
  'starts with the tag of an exited process': 'two holders',
  'creator: lends the lock that it holds': 'two holders',
  'creator: ignores the lock file': 'two holders',
  'creator: reads the lock file before it has the lock within the process': 'two holders',
  'creator: does not notice the end of a loan': 'stuck',
  'creates the folder before the lock file': 'stuck',
  'leaves an empty folder in the way': 'stuck',
  'leaves a lock file that it could not remove': 'stuck',
  'answers a wait when the lock within the process is free': 'stuck',
  'does not answer a wait for a lock that it has released': 'stuck',
  'does not answer those who wait when it releases the lock': 'stuck',
  'does not ask the holder to release the lock': 'stuck',
  'keeps the loan until it releases the lock': 'stuck',
  'keeps the loan when its request times out': 'stuck',
  'waits without limit for a lock that is on loan to a frozen process': 'stuck',
} as const satisfies Record<string, Violation>

export type Mutant = keyof typeof mutants

/**
 * Whether a step that is possible happens some time. `always`: if its process is not frozen. A list: if, in addition,
 * one of these processes is frozen. `maybe`: it may never happen.
 */
type Condition = 'always' | 'maybe' | readonly number[]

interface Step {
  readonly process: number
  readonly name: string
  readonly condition: Condition
  readonly next: State
}

/** Adds a possible step of a process. */
type Add = (name: string, change: (next: State) => void, condition?: Condition) => void

/** Changes of a process. */
const noRequest = { waits: false, asked: false, seen: undefined } as const
const crashed = { ...noRequest, place: 'crashed', requests: 0 } as const

/** Processes are called A, B, C and D. */
const nameOf = (p: number): string => 'ABCD'.charAt(p)

/** The steps of the protocol. */
class Model {
  readonly #variant: Variant
  readonly #mutant: Mutant | undefined

  constructor(variant: Variant) {
    this.#variant = variant
    this.#mutant = variant.mutant
  }

  initial(): State {
    const { requests, lastStarts } = this.#variant
    const processes = requests.map(
      (count, p): Process => ({
        ...noRequest,
        place: lastStarts && p === requests.length - 1 ? 'orphans: readdir' : 'idle',
        requests: count,
        late: undefined,
        prepared: 'missing',
      }),
    )
    return new State({ processes, files: undefined, unread: [], local: [] })
  }

  /** All steps that are possible in a state. */
  steps(state: State): Step[] {
    const steps: Step[] = []
    for (let p = 0; p < state.processes.length; p++) {
      const add: Add = (name, change, condition = 'always') => {
        const next = new State(state)
        change(next)
        steps.push({ process: p, name, condition, next })
      }
      const { late } = state.process(p)
      if (late)
        add(`late ${late}`, (next) => this.#callLate(next, p, late), state.isRunning(p) ? 'always' : 'maybe')
      if (state.isRunning(p)) {
        add('crashes', (next) => this.#crash(next, p), 'maybe')
        if (this.#isCreator(p)) this.#readBorrows(state, add)
        else this.#readWaits(state, p, add)
        this.#proceed(state, p, add)
      } else if (this.#mutant === 'starts with the tag of an exited process') {
        add('starts again', (next) => next.change(p, { place: 'idle', requests: 1 }), 'maybe')
      }
    }
    return steps
  }

  #isCreator(p: number): boolean {
    return p === creator && this.#variant.creatorRuns
  }

  #crash(next: State, p: number): void {
    const { place, seen } = next.process(p)
    if (changing.has(place)) next.change(p, { ...crashed, late: place, seen })
    else this.#forget(next, p)
    // The kernel closes its connections.
    if (this.#isCreator(p)) next.unread = next.local = []
    else endLoan(next, p)
  }

  /** After the last call of a crashed process only a process that starts looks at the folder that it prepared. */
  #forget(next: State, p: number): void {
    next.change(p, this.#variant.lastStarts ? crashed : { ...crashed, prepared: 'missing' })
  }

  #callLate(next: State, p: number, call: Place): void {
    this.#call(next, p, call)
    next.change(p, { late: undefined })
    if (!next.isRunning(p)) this.#forget(next, p)
    else if (call === 'release: unlink') next.change(p, { late: 'release: rmdir' })
    else answerWaits(next, p)
  }

  /** Reads the queries of other processes to the creator: `LockServer.#onQuery`, `borrow` and `try`. */
  #readBorrows(state: State, add: Add): void {
    for (const loan of state.unread) {
      const { borrower } = loan
      add(`reads the query of ${nameOf(borrower)}`, (next) => {
        next.unread = next.unread.filter((each) => each !== loan)
        if (this.#mutant === 'creator: lends the lock that it holds' && next.local[0] === Own)
          next.local = [loan, ...next.local]
        else if (next.local.length === 0 || loan.waits) this.#enqueue(next, loan)
        else if (loan.isOpen) next.change(borrower, { place: 'borrow: held' })
      })
    }
    for (const loan of state.local) {
      if (loan === Own || loan.isOpen || this.#mutant === 'creator: does not notice the end of a loan')
        continue
      add(`notices that ${nameOf(loan.borrower)} ended its connection`, (next) => this.#dequeue(next, loan))
    }
  }

  /** Reads the queries of other processes to the holder of a lock file: `LockServer.#onQuery`, `wait`. */
  #readWaits(state: State, p: number, add: Add): void {
    state.processes.forEach(({ place, seen }, client) => {
      if (place !== 'wait: sent' || seen !== p) return
      add(`reads the query of ${nameOf(client)}`, (next) => {
        const holder = next.process(p)
        next.change(client, { place: 'wait: waits' })
        if (this.#mutant === waitsLocally) {
          if (holder.place === 'idle') next.change(client, { place: 'wait: free' })
          else next.change(p, { asked: true })
        } else if (registered.has(holder.place)) {
          if (holder.place === 'holds' && this.#mutant !== 'does not ask the holder to release the lock')
            next.change(p, { asked: true })
        } else if (this.#mutant !== 'does not answer a wait for a lock that it has released')
          this.#removeUnusedFile(next, p, client)
      })
    })
  }

  /** The answer to a process that asks for a lock that this process does not hold. */
  #removeUnusedFile(next: State, p: number, client: number): void {
    const { place } = next.process(p)
    if (this.#mutant === 'leaves a lock file that it could not remove')
      next.change(client, { place: 'wait: free' })
    else if (this.#mutant === 'removes an unused lock file without the lock within the process') {
      next.files = next.files?.filter((file) => file !== p)
      next.change(client, { place: 'wait: free' })
    } else if (place === 'idle') next.change(p, { place: 'unused: unlink', seen: client })
    else next.change(client, { place: 'wait: free' })
  }

  /** The next step of a request, or of a process that starts. */
  #proceed(state: State, p: number, add: Add): void {
    const me = state.process(p)
    const { place, seen } = me
    const isCreator = this.#isCreator(p)
    const creatorRuns = this.#variant.creatorRuns && state.isRunning(creator)
    const to =
      (place: Place, changes: Partial<Process> = {}) =>
      (next: State): void =>
        next.change(p, { place, ...changes })
    /** The call in progress is carried out. */
    const call = (then: (next: State, succeeded: boolean) => void): void =>
      add(place, (next) => then(next, this.#call(next, p, place)))
    /** The request times out or is aborted. */
    const timeout = (condition: Condition): void =>
      add('times out', (next) => this.#timeOut(next, p), condition)
    const holderHasExited = to(isCreator ? 'remove: unlink' : 'replace: rename')
    const tryAgain = (next: State): void => this.#try(next, p)

    switch (place) {
      case 'idle':
        if (me.requests === 0) break
        for (const waits of [true, false]) {
          add(
            waits ? 'acquire' : 'tryAcquire',
            (next) => {
              next.change(p, { requests: me.requests - 1, waits })
              this.#start(next, p)
            },
            'maybe',
          )
        }
        break

      case 'local: waits':
        timeout(this.#dependencies(state))
        break

      case 'borrow: sent': {
        const [lent] = state.local
        if (this.#mutant === 'takes a creator that does not answer for exited')
          add('times out', (next) => this.#goOn(next, p), [creator])
        else timeout([creator, ...this.#dependencies(state)])
        // The connection breaks, and the next one is refused.
        if (!creatorRuns) add('learns that the creator has exited', (next) => this.#goOn(next, p))
        else if (lent && lent !== Own && lent.borrower === p && lent.isOpen)
          add('reads that it has borrowed the lock', (next) => {
            next.change(p, { place: this.#mutant === borrowsLate ? 'create: mkdir' : 'holder: readdir' })
            if (this.#mutant === 'ends the loan before it creates the lock file') endLoan(next, p)
          })
        break
      }
      case 'borrow: held':
        add('reads that the lock is held', (next) => {
          if (this.#mutant === 'ignores that the creator holds the lock')
            next.change(p, { place: 'holder: readdir' })
          else this.#end(next, p)
        })
        break

      case 'holder: readdir':
        if (!state.files?.length) add('sees no lock file', (next) => this.#seesNoLockFile(next, p))
        for (const holder of state.files ?? [])
          add(`sees the lock file of ${nameOf(holder)}`, (next) => {
            if (holder !== p) next.change(p, { place: 'holder: isRunning', seen: holder })
            else if (isCreator) next.change(p, { place: 'remove: unlink', seen: holder })
            else next.change(p, { place: 'acquired' })
          })
        break
      case 'holder: isRunning':
        if (
          !state.isRunning(seen as number) ||
          this.#mutant === 'replaces the lock file of a running process'
        )
          add('sees that the holder has exited', holderHasExited)
        else
          add('sees that the holder runs', (next) => {
            if (!me.waits) return this.#end(next, p)
            next.change(p, { place: 'wait: connect' })
            if (!isCreator) endLoan(next, p)
          })
        if (this.#mutant === 'takes a holder that does not answer for exited')
          add('times out', holderHasExited, [seen as number])
        break

      case 'wait: connect':
        timeout('maybe')
        if (state.isRunning(seen as number)) add('sends wait', to('wait: sent'))
        else add('is refused by the holder', tryAgain)
        break
      case 'wait: sent':
      case 'wait: waits':
        timeout([seen as number])
        if (!state.isRunning(seen as number)) add('learns that the holder has exited', tryAgain)
        break
      case 'wait: free':
        timeout('maybe')
        add('reads that the lock is free', tryAgain)
        break

      case 'create: mkdir':
        if (this.#mutant !== foldersFirst) call(to('create: writeFile'))
        else
          call((next, succeeded) =>
            next.change(p, { place: succeeded ? 'create: writeFile' : 'holder: readdir' }),
          )
        break
      case 'create: writeFile':
        call(
          to(this.#mutant === foldersFirst || this.#mutant === sharedFolder ? 'acquired' : 'create: rename'),
        )
        break
      case 'create: rename':
        call((next, succeeded) => next.change(p, { place: succeeded ? 'acquired' : 'create: unlink' }))
        break
      case 'create: unlink':
        call(to('create: rmdir'))
        break
      case 'create: rmdir':
        call(to('create: rmdir folder'))
        break
      case 'create: rmdir folder':
        call(to('holder: readdir'))
        break

      case 'replace: rename':
        call((next, succeeded) => {
          next.change(p, { seen: undefined })
          next.change(p, { place: succeeded ? 'acquired' : 'holder: readdir' })
        })
        break

      case 'acquired':
        add('has acquired the lock', (next) => {
          next.change(p, { place: 'holds' })
          if (this.#mutant !== 'keeps the loan until it releases the lock') endLoan(next, p)
        })
        break

      case 'remove: unlink':
        call(to('remove: rmdir', { seen: undefined }))
        break
      case 'remove: rmdir':
        call(to('holder: readdir'))
        break

      case 'holds':
        // A request that waited holds the lock until another one asks for it: for example a long upload.
        add('release', (next) => this.#release(next, p), me.waits && !me.asked ? 'maybe' : 'always')
        break
      case 'release: unlink':
        call(to('release: rmdir'))
        if (this.#variant.unlinkFails && me.requests === 0)
          add('cannot remove the lock file', to('release: done'), 'maybe')
        break
      case 'release: rmdir':
        call(to('release: done'))
        break
      case 'release: done':
        add('has released the lock', (next) => {
          if (this.#mutant !== 'does not answer those who wait when it releases the lock')
            answerWaits(next, p)
          this.#end(next, p)
        })
        break

      case 'unused: unlink':
        call(to('unused: rmdir'))
        if (this.#variant.unlinkFails)
          add('cannot remove the lock file', (next) => this.#answerUnused(next, p), 'maybe')
        break
      case 'unused: rmdir':
        call((next) => this.#answerUnused(next, p))
        break

      case 'orphans: readdir':
        this.#listOrphans(state, p, add)
        break
      case 'orphans: isRunning':
      case 'orphans: isRunning (prepared)': {
        const isPrepared = place === 'orphans: isRunning (prepared)'
        const isRunning =
          state.isRunning(seen as number) &&
          this.#mutant !== 'removes orphans without asking whether their process runs'
        if (isRunning) add('sees that the process runs', to('orphans: readdir', { seen: undefined }))
        else
          add(
            'sees that the process has exited',
            to(isPrepared ? 'orphans: unlink (prepared)' : 'orphans: unlink'),
          )
        break
      }
      case 'orphans: unlink':
        call(to('orphans: rmdir', { seen: undefined }))
        break
      case 'orphans: unlink (prepared)':
        call(to('orphans: rmdir (prepared)'))
        break
      case 'orphans: rmdir':
      case 'orphans: rmdir (prepared)':
        call(to('orphans: readdir', { seen: undefined }))
        break
    }
  }

  /** `acquire` and `tryAcquire`. A process that is not the creator has its lock within the process already. */
  #start(next: State, p: number): void {
    if (!this.#isCreator(p) || this.#mutant === readsEarly) this.#try(next, p)
    else if (next.process(p).waits || next.local.length === 0) this.#enqueue(next, Own)
    else this.#end(next, p)
  }

  /** Begins an attempt: `tryAsCreator` or `tryWithLoan`. */
  #try(next: State, p: number): void {
    next.change(p, { place: 'holder: readdir', seen: undefined })
    const borrows =
      this.#mutant !== 'creates the lock file without asking the creator' && this.#mutant !== borrowsLate
    if (!this.#isCreator(p) && borrows) this.#borrow(next, p)
  }

  #borrow(next: State, p: number): void {
    if (this.#variant.creatorRuns && next.isRunning(creator)) {
      next.unread = [...next.unread, { borrower: p, waits: next.process(p).waits, isOpen: true }]
      next.change(p, { place: 'borrow: sent' })
    } else this.#goOn(next, p)
  }

  /** The creator has exited: the request goes on without it. */
  #goOn(next: State, p: number): void {
    endLoan(next, p)
    next.change(p, { place: this.#mutant === borrowsLate ? 'create: mkdir' : 'holder: readdir' })
  }

  #seesNoLockFile(next: State, p: number): void {
    if (this.#isCreator(p)) {
      if (this.#mutant === readsEarly) this.#enqueue(next, Own)
      else next.change(p, { place: 'holds' })
    } else if (this.#mutant === borrowsLate) this.#borrow(next, p)
    else next.change(p, { place: 'create: mkdir' })
  }

  /** release() */
  #release(next: State, p: number): void {
    next.change(p, { ...noRequest, place: 'release: unlink' })
    if (this.#isCreator(p)) this.#end(next, p)
    else if (this.#mutant === 'releases the lock within the process before it removes the lock file') {
      this.#end(next, p)
      next.change(p, { late: 'release: unlink' })
    }
  }

  /** The request has ended: the lock within the process and the loan are released. */
  #end(next: State, p: number): void {
    next.change(p, { ...noRequest, place: 'idle' })
    if (this.#isCreator(p)) this.#dequeue(next, Own)
    else endLoan(next, p)
    if (this.#mutant === waitsLocally) answerWaits(next, p)
  }

  #answerUnused(next: State, p: number): void {
    const { seen: client } = next.process(p)
    const { place, seen } = next.process(client as number)
    if (place === 'wait: waits' && seen === p) next.change(client as number, { place: 'wait: free' })
    this.#end(next, p)
  }

  /** The process on which the lock within the creator depends: `LocalLocks`. */
  #dependencies({ local, processes }: State): number[] {
    const [holder] = local
    const { place, seen } = processes[creator] as Process
    if (holder === undefined || this.#mutant === waitsForever) return []
    if (holder !== Own) return [holder.borrower]
    return seen !== undefined && (place === 'wait: sent' || place === 'wait: waits') ? [seen] : []
  }

  #timeOut(next: State, p: number): void {
    const { unread, local } = next
    this.#end(next, p)
    if (this.#mutant === 'keeps the loan when its request times out') Object.assign(next, { unread, local })
  }

  /** `MemoryLocker.acquire` of the creator. */
  #enqueue(next: State, entry: Loan | typeof Own): void {
    next.local = [...next.local, entry]
    const [holder] = next.local
    if (holder === entry) this.#granted(next)
    else if (holder === Own) next.change(creator, { asked: true })
    if (holder !== entry && entry === Own) next.change(creator, { place: 'local: waits' })
  }

  /** Releases the lock within the creator, or ends the wait for it. */
  #dequeue(next: State, entry: Loan | typeof Own): void {
    const isHolder = next.local[0] === entry
    next.local = next.local.filter((each) => each !== entry)
    if (isHolder) this.#granted(next)
  }

  /** The first entry has got the lock within the creator. A loan is answered with that, see 'borrow: sent'. */
  #granted(next: State): void {
    if (next.local[0] !== Own) return
    const holds = this.#mutant === readsEarly || this.#mutant === 'creator: ignores the lock file'
    next.change(creator, { place: holds ? 'holds' : 'holder: readdir', asked: next.local.length > 1 })
  }

  /** `removeOrphans`: one of the folders in the directory, in any order and any number of times. */
  #listOrphans(state: State, p: number, add: Add): void {
    add('has removed orphans', (next) => next.change(p, { place: 'idle' }))
    if (state.files?.length === 0)
      add('sees an empty folder', (next) => next.change(p, { place: 'orphans: rmdir' }))
    for (const seen of state.files ?? [])
      add(`sees the lock file of ${nameOf(seen)}`, (next) =>
        next.change(p, { place: 'orphans: isRunning', seen }),
      )
    state.processes.forEach(({ prepared }, seen) => {
      if (prepared !== 'missing')
        add(`sees the prepared folder of ${nameOf(seen)}`, (next) =>
          next.change(p, { place: 'orphans: isRunning (prepared)', seen }),
        )
    })
  }

  /** Carries out a call of the file system. Returns whether it succeeded. */
  #call(next: State, p: number, call: Place): boolean {
    const { prepared, seen } = next.process(p)
    const { files } = next
    const exited = seen === undefined ? undefined : next.process(seen)
    const isThere = (tag: number | undefined): boolean => files?.some((file) => file === tag) === true
    const remove = (tag: number | undefined): boolean => {
      next.files = files?.filter((file) => file !== tag)
      return isThere(tag)
    }
    const removeFolder = (): boolean => {
      if (files?.length === 0) next.files = undefined
      return files?.length === 0
    }
    switch (call) {
      case 'create: mkdir':
        if (this.#mutant === foldersFirst || this.#mutant === sharedFolder) {
          next.files = files ?? []
          return files === undefined
        }
        if (prepared === 'missing') next.change(p, { prepared: 'empty' })
        return true
      case 'create: writeFile':
        if (this.#mutant === foldersFirst || this.#mutant === sharedFolder) next.files = [...(files ?? []), p]
        else if (prepared !== 'missing') next.change(p, { prepared: 'full' })
        return true
      case 'create: rename': {
        const isInTheWay = this.#variant.isWindows ? files !== undefined : files?.length
        if (isInTheWay || prepared === 'missing') return false
        next.files = prepared === 'full' ? [p] : []
        next.change(p, { prepared: 'missing' })
        return true
      }
      case 'create: unlink':
        if (prepared === 'full') next.change(p, { prepared: 'empty' })
        return true
      case 'create: rmdir':
        if (prepared === 'empty') next.change(p, { prepared: 'missing' })
        return true
      case 'create: rmdir folder':
        return this.#mutant === 'leaves an empty folder in the way' || removeFolder()
      case 'replace: rename':
        if (this.#mutant === 'replaces whatever lock file is there' && files?.length) next.files = [p]
        else if (isThere(seen)) next.files = files?.map((file) => (file === seen ? p : file))
        else return false
        return true
      case 'release: unlink':
      case 'unused: unlink':
        return remove(p)
      case 'release: rmdir':
        if (this.#mutant === 'removes the folder with its content') next.files = undefined
        return removeFolder()
      case 'remove: unlink':
      case 'orphans: unlink':
        return remove(seen)
      case 'remove: rmdir':
      case 'unused: rmdir':
      case 'orphans: rmdir':
        return removeFolder()
      case 'orphans: unlink (prepared)':
        if (exited?.prepared === 'full') next.change(seen as number, { prepared: 'empty' })
        return true
      case 'orphans: rmdir (prepared)':
        if (exited?.prepared === 'empty') next.change(seen as number, { prepared: 'missing' })
        return true
      default:
        throw new Error(`Not a call of the file system: ${call}`)
    }
  }
}

// Mutants that deviate in several places.
const borrowsLate: Mutant = 'replaces the lock file of an exited process without asking the creator'
const waitsLocally: Mutant = 'answers a wait when the lock within the process is free'
const waitsForever: Mutant = 'waits without limit for a lock that is on loan to a frozen process'
const readsEarly: Mutant = 'creator: reads the lock file before it has the lock within the process'
const foldersFirst: Mutant = 'creates the folder before the lock file'
const sharedFolder: Mutant = 'creates the lock file in a folder that exists'

/** A borrower closes its connection to the creator, if it has one. */
function endLoan(next: State, borrower: number): void {
  const end = (loan: Loan): Loan => (loan.borrower === borrower ? { ...loan, isOpen: false } : loan)
  if (next.unread.length > 0) next.unread = next.unread.map(end)
  if (next.local.length > 0) next.local = next.local.map((entry) => (entry === Own ? Own : end(entry)))
}

function answerWaits(next: State, holder: number): void {
  next.processes.forEach(({ place, seen }, client) => {
    if (place === 'wait: waits' && seen === holder) next.change(client, { place: 'wait: free' })
  })
}

const codeOf = Object.fromEntries(places.map((place, code) => [place, code])) as Record<Place, number>
const folderCode = { missing: 0, empty: 1, full: 2 } as const
const entryCode = (entry: Loan | typeof Own): number =>
  entry === Own ? 0x80 : (entry.borrower << 2) | (entry.waits ? 2 : 0) | (entry.isOpen ? 1 : 0)

/** A short text that is the same for equal states. */
function encode({ processes, files, unread, local }: State): string {
  const codes: number[] = []
  for (const { place, requests, waits, asked, seen = 7, late, prepared } of processes) {
    const flags = (waits ? 1 : 0) | (asked ? 2 : 0) | (folderCode[prepared] << 2)
    codes.push(codeOf[place] | (requests << 6) | (flags << 8), (late ? codeOf[late] : 0) | (seen << 6))
  }
  codes.push(files ? files.reduce((bits, file) => bits | (1 << file), 0) : 0xff)
  if (unread.length > 0) for (const code of unread.map(entryCode).sort()) codes.push(code)
  codes.push(0xff)
  for (const entry of local) codes.push(entryCode(entry))
  return String.fromCharCode(...codes)
}

export interface Exploration {
  readonly states: number
  /** Where processes have been. */
  readonly places: ReadonlySet<Place>
  readonly violation?: Violation
  /** The shortest sequence of steps that leads to the violation; to the state after which it cannot be avoided. */
  readonly trace?: readonly string[]
}

/** Goes through all states of a variant, breadth first, until two processes hold the lock. */
export function explore(variant: Variant): Exploration {
  const model = new Model(variant)
  const graph = new Graph(model.initial())
  const places = new Set<Place>()
  const result = (violation?: Violation, path: number[] = [], end: string[] = []): Exploration => {
    const trace = violation && [...namesOf(model, path), ...end]
    return { states: graph.size, places, ...(trace && { violation, trace }) }
  }
  let leftBehind: number[] | undefined
  for (let id = 0; id < graph.size; id++) {
    for (const step of model.steps(graph.take(id))) {
      if (!graph.add(step)) continue
      const found = graph.size - 1
      for (const { place } of step.next.processes) places.add(place)
      if (hasTwoHolders(step.next)) return result('two holders', graph.pathTo(found))
      if (!variant.unlinkFails && isLeftBehind(step.next)) leftBehind ??= graph.pathTo(found)
    }
  }
  const stuck = graph.findStuck()
  if (stuck) return result('stuck', graph.pathTo(stuck.id), stuck.end)
  return leftBehind ? result('left behind', leftBehind) : result()
}

/** The names of the steps of a path: for each state, which of its steps is taken. */
function namesOf(model: Model, path: readonly number[]): string[] {
  let state = model.initial()
  return path.map((index) => {
    const { process, name, next } = model.steps(state)[index] as Step
    state = next
    return `${nameOf(process)} ${name}`
  })
}

function hasTwoHolders({ processes }: State): boolean {
  return processes.filter(({ place }) => place === 'holds').length > 1
}

/**
 * Whether something of a running process is there, although no process has a request. If no process has crashed,
 * the folder may not be there either.
 */
function isLeftBehind({ processes, files }: State): boolean {
  const running = processes.filter(({ place }) => place !== 'crashed')
  if (running.some(({ place, late }) => place !== 'idle' || late)) return false
  return (
    files?.some((file) => processes[file]?.place !== 'crashed') === true ||
    running.some(({ prepared }) => prepared !== 'missing') ||
    (files !== undefined && running.length === processes.length)
  )
}

/** The states that were found, by number, and the steps between them. */
class Graph {
  readonly #processes: number
  readonly #ids = new Map<string, number>()
  /** The states whose steps have not been taken yet. */
  readonly #states: (State | undefined)[] = []
  /** The step by which each state was found first. */
  readonly #foundBy = new Numbers()
  /** As bits: the processes that want the lock, in each state. */
  readonly #wanting = new Numbers()
  /** The first step of each state. */
  readonly #first = new Numbers()
  /** The steps, in the order of the states that they start from: the state they lead to, and process and condition. */
  readonly #targets = new Numbers()
  readonly #labels = new Numbers()

  constructor(initial: State) {
    this.#processes = initial.processes.length
    this.#addState(initial, encode(initial))
  }

  get size(): number {
    return this.#states.length
  }

  /** Returns a state, once. */
  take(id: number): State {
    const state = this.#states[id] as State
    this.#states[id] = undefined
    this.#first.push(this.#targets.length)
    return state
  }

  /** Adds a step of the state that was taken last. Returns whether it leads to a new state. */
  add({ process, condition, next }: Step): boolean {
    const code = encode(next)
    const known = this.#ids.get(code)
    if (known === undefined) this.#addState(next, code)
    this.#targets.push(known ?? this.size - 1)
    this.#labels.push(labelOf(process, condition))
    return known === undefined
  }

  #addState(state: State, code: string): void {
    this.#ids.set(code, this.size)
    this.#states.push(state)
    this.#foundBy.push(this.#targets.length)
    this.#wanting.push(
      state.processes.reduce((bits, { place }, p) => bits | (wanting.has(place) ? 1 << p : 0), 0),
    )
  }

  /** The shortest path to a state: for each state on the way, which of its steps is taken. */
  pathTo(id: number): number[] {
    const path: number[] = []
    for (let step = this.#foundBy.at(id); id > 0; step = this.#foundBy.at(id)) {
      id = this.#first.lastAtMost(step)
      path.unshift(step - this.#first.at(id))
    }
    return path
  }

  /**
   * Finds a state in which a process wants the lock and cannot get it, if some processes, or none, are frozen from then
   * on. It can get it if steps that happen lead to a state in which it has the lock, or its request has ended. That
   * is checked for every state, so it still can after any other steps.
   */
  findStuck(): { id: number; end: string[] } | undefined {
    // Each case is a bit: a process that waits, and the processes that are frozen, as bits.
    const cases: { waiter: number; frozen: number }[] = []
    for (let waiter = 0; waiter < this.#processes; waiter++)
      for (let frozen = 0; frozen < 1 << this.#processes; frozen++)
        if (!(frozen & (1 << waiter))) cases.push({ waiter, frozen })
    const casesWhere = (holds: (each: { waiter: number; frozen: number }) => boolean): number =>
      cases.reduce((bits, each, i) => (holds(each) ? bits | (1 << i) : bits), 0)

    // The cases in which a step with this label happens.
    const happens = Array.from({ length: 1 << 7 }, (_, label) =>
      casesWhere(({ frozen }) => happensIf(label, frozen)),
    )
    // The cases in which each state comes, or can come, to the end of the wait.
    const endsIf = Array.from({ length: 1 << this.#processes }, (_, wanting) =>
      casesWhere(({ waiter }) => !(wanting & (1 << waiter))),
    )
    const ends = Int32Array.from({ length: this.size }, (_, id) => endsIf[this.#wanting.at(id)] as number)
    for (let isChanged = true; isChanged; ) {
      isChanged = false
      // Backwards, because most steps lead to a higher number.
      for (let id = this.size - 1, last = this.#targets.length; id >= 0; id--) {
        const before = ends[id] as number
        let after = before
        const first = this.#first.at(id)
        for (let step = first; step < last; step++) {
          after |= (ends[this.#targets.at(step)] as number) & (happens[this.#labels.at(step)] as number)
        }
        ends[id] = after
        isChanged ||= after !== before
        last = first
      }
    }
    const all = casesWhere(() => true)
    const id = ends.findIndex((bits) => bits !== all)
    if (id < 0) return undefined
    const { waiter, frozen } = cases.find((_, i) => !((ends[id] as number) & (1 << i))) as (typeof cases)[0]
    const names = [...'ABCD'].filter((_, p) => frozen & (1 << p))
    return { id, end: [...names.map((name) => `${name} freezes`), `${nameOf(waiter)} waits forever`] }
  }
}

/** A list of numbers below 2^32 that uses four bytes for each. */
class Numbers {
  #values = new Uint32Array(1024)
  length = 0

  push(value: number): void {
    if (this.length === this.#values.length) {
      const values = new Uint32Array(2 * this.length)
      values.set(this.#values)
      this.#values = values
    }
    this.#values[this.length++] = value
  }

  at(index: number): number {
    return this.#values[index] as number
  }

  /** The index of the last value that is not greater. The values are ascending. */
  lastAtMost(value: number): number {
    let [low, high] = [0, this.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.at(middle) <= value) low = middle
      else high = middle
    }
    return low
  }
}

/** A number for the process and the condition of a step. */
function labelOf(process: number, condition: Condition): number {
  if (condition === 'always') return process
  const processes = condition === 'maybe' ? 0 : condition.reduce((bits, p) => bits | (1 << p), 0)
  return process | 4 | (processes << 3)
}

/** Whether a step happens if these processes are frozen. */
function happensIf(label: number, frozen: number): boolean {
  const isConditional = (label & 4) !== 0
  return (frozen & (1 << (label & 3))) === 0 && (!isConditional || ((label >> 3) & frozen) !== 0)
}
