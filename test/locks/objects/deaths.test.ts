import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import type { Lock } from '../../../lib/locks/locker.ts'
import { usual } from '../../../lib/locks/objects/timing.ts'
import { withResolvers } from '../../support/promise.ts'
import { holderProcess } from './process.ts'
import { onEachService } from './services.ts'
import { findHolder, holderAt, keysAt, kindsAt, nodeAt, quick, undying, until } from './setting.ts'
import { unreachable } from './watched-space.ts'

/** Gets a lock without telling its holder. */
async function acquireSilently(locker: {
  tryAcquire(name: string): Promise<Lock | undefined>
}): Promise<Lock> {
  const lock = await until(() => locker.tryAcquire('a'))
  return lock as Lock
}

onEachService('nodes that die', (newPlace) => {
  it('a lock of a process that was killed is free when its heartbeat has stood still', async () => {
    const place = await newPlace()
    const holder = await holderProcess(place, quick, 'a')
    const { locker } = nodeAt(place, quick)
    const waiting = locker.acquire('a')
    await holder.says('wanted')
    holder.signal('SIGKILL')
    await holder.ended
    const killed = performance.now()
    await (await waiting).release()
    expect(performance.now() - killed).toBeGreaterThan(quick.death / 2)
  })

  it('tryAcquire() finds out over time, too', async () => {
    const place = await newPlace()
    const holder = await holderProcess(place, quick, 'a')
    const { locker } = nodeAt(place, quick)
    expect(await locker.tryAcquire('a')).toBeUndefined()
    holder.signal('SIGKILL')
    await (await acquireSilently(locker)).release()
  })

  it('a lock of a process that lives is not taken, however long it is held', async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, quick), nodeAt(place, quick)]
    const lock = await one.locker.acquire('a')
    const acquired = vi.fn()
    const waiting = other.locker.acquire('a').then((next) => {
      acquired()
      return next
    })
    const beats = () => one.space.requests.filter((request) => request.startsWith('put nodes/')).length
    await until(() => beats() > (2 * quick.death) / quick.beat)
    expect(acquired).not.toHaveBeenCalled()
    await lock.release()
    await (await waiting).release()
  })

  it('a lock whose node has no heartbeat is free at once', async () => {
    const place = await newPlace()
    // None comes after the first one.
    const [one, other] = [nodeAt(place, { ...undying, beat: 1e6 }), nodeAt(place, undying)]
    await one.locker.acquire('a')
    await one.locker.acquire('b')
    const { node } = await holderAt(place, 'a')
    await one.space.remove([`.bits-sessions/nodes/${node}`])
    expect(await other.locker.tryAcquire('a')).toBeDefined()
    await (await other.locker.acquire('b')).release()
  })

  it('a process that was stopped for long does not take back what it lost', async () => {
    const place = await newPlace()
    const holder = await holderProcess(place, quick, 'a')
    holder.signal('SIGSTOP')
    const { locker } = nodeAt(place, quick)
    const lock = await locker.acquire('a')
    const taken = await holderAt(place, 'a')
    holder.signal('SIGCONT')
    await holder.says('wanted')
    holder.tell('release')
    await holder.says('released')
    expect(await holderAt(place, 'a')).toEqual(taken)
    expect(await nodeAt(place, quick).locker.tryAcquire('a')).toBeUndefined()
    await lock.release()
  })

  it('a process whose lock nobody took meanwhile gives it back', async () => {
    const place = await newPlace()
    const holder = await holderProcess(place, quick, 'a')
    holder.signal('SIGSTOP')
    // All that another would see.
    await delay(1.2 * quick.death)
    holder.signal('SIGCONT')
    holder.tell('release')
    await holder.says('released')
    expect(await kindsAt(place)).not.toContain('locks')
    expect(await nodeAt(place, undying).locker.tryAcquire('a')).toBeDefined()
  })

  it.each(['fail', 'come too late'])(
    'a holder whose heartbeats %s is told, and goes on under another id',
    async (fault) => {
      const place = await newPlace()
      const timing = fault === 'fail' ? quick : { ...quick, beat: 2 * quick.death }
      const [one, other] = [nodeAt(place, timing), nodeAt(place, quick)]
      const onWanted = vi.fn()
      const lock = await one.locker.acquire('a', { onWanted })
      const before = await holderAt(place, 'a')
      if (fault === 'fail') one.space.meddle(/^put nodes/, unreachable)
      const next = await acquireSilently(other.locker)
      const taken = await holderAt(place, 'a')
      one.space.leaveAlone()
      await until(() => onWanted.mock.calls.length > 0)
      // It lives again, but not with what it had.
      await one.locker.acquire('b')
      await lock.release()
      expect(await holderAt(place, 'a')).toEqual(taken)
      await next.release()
      await one.locker.acquire('a')
      const after = await holderAt(place, 'a')
      expect([before.node, taken.node]).not.toContain(after.node)
      expect(await keysAt(place)).not.toContain(`nodes/${before.node}`)
      expect(onWanted).toHaveBeenCalledTimes(1)
    },
  )

  it('a lock that took too long to get is taken anew', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, quick)
    const answered = withResolvers<void>()
    space.meddle(/^put nodes/, unreachable)
    space.meddle(/^put nodes/, (run) => {
      space.meddle(/^put nodes/, unreachable)
      return run()
    })
    let slow = true
    space.meddle(/^put locks/, async (run) => {
      const result = await run()
      if (slow) await answered.promise
      slow = false
      return result
    })
    const acquiring = locker.acquire('a')
    const first = await until(() => findHolder(place, 'a'))
    await delay(quick.death)
    space.leaveAlone()
    answered.resolve()
    await acquiring
    const second = await holderAt(place, 'a')
    expect(second.node).not.toBe(first.node)
    expect(await keysAt(place)).toContain(`nodes/${second.node}`)
    expect(await nodeAt(place, undying).locker.tryAcquire('a')).toBeUndefined()
  })

  it('locks keep no process alive', async () => {
    const place = await newPlace()
    const holder = await holderProcess(place, usual, 'a')
    holder.tell('end')
    expect(await holder.ended).toBe(0)
  })

  it('what dead nodes left is cleared away, and nothing of those that live', async () => {
    const place = await newPlace()
    const [alive, dead] = [nodeAt(place, quick), await holderProcess(place, quick, 'a')]
    await alive.locker.acquire('b')
    dead.signal('SIGKILL')
    const controller = new AbortController()
    const { locker, space } = nodeAt(place, quick)
    const waiting = locker.acquire('a', { signal: controller.signal })
    await until(() => space.requests.some((request) => request.startsWith('put wants/')))
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await until(async () => {
      await locker.clear()
      return (await keysAt(place)).length === 2
    })
    expect(await kindsAt(place)).toEqual(['locks', 'nodes'])
    expect(await locker.tryAcquire('b')).toBeUndefined()
  })
})
