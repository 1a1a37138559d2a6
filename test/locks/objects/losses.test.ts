import { expect, it, vi } from 'vitest'
import { withResolvers } from '../../support/promise.ts'
import type { Place } from './places.ts'
import { onEachService } from './services.ts'
import { findHolder, holderAt, keysAt, kindsAt, nodeAt, quick, undying, until } from './setting.ts'
import { answerLost, hanging, unreachable } from './watched-space.ts'

const isEmpty = (place: Place): Promise<boolean> => until(async () => (await keysAt(place)).length === 0)

onEachService('requests that fail', (newPlace) => {
  /** Two nodes, the first of which lives on as it has another lock. */
  const two = async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const b = await one.locker.acquire('b')
    return { place, one, other, b }
  }

  it('a lock is there although the answer got lost', async () => {
    const { place, one, other } = await two()
    one.space.meddle(/^put locks/, answerLost)
    const lock = await one.locker.acquire('a')
    expect(await other.locker.tryAcquire('a')).toBeUndefined()
    await lock.release()
    expect(await findHolder(place, 'a')).toBeUndefined()
  })

  it('acquire() fails if nobody knows whether the lock is there, and whoever wants it gets it', async () => {
    const { place, one, other } = await two()
    one.space.meddle(/^put locks/, answerLost)
    one.space.meddle(/^get locks/, unreachable)
    await expect(one.locker.acquire('a')).rejects.toThrow('socket hang up')
    await expect(one.locker.tryAcquire('c')).rejects.toThrow('socket hang up')
    one.space.leaveAlone()
    await holderAt(place, 'a')
    await (await other.locker.acquire('a')).release()
    await holderAt(place, 'c')
    await (await one.locker.acquire('c')).release()
  })

  it('a lock that comes late, unknown to its node, is let go when it is wanted', async () => {
    const { place, one, other } = await two()
    const late = withResolvers<() => Promise<unknown>>()
    one.space.meddle(/^put locks/, async (run) => {
      late.resolve(run)
      throw new Error('timeout')
    })
    await expect(one.locker.acquire('a')).rejects.toThrow('timeout')
    await (await late.promise)()
    await holderAt(place, 'a')
    await (await other.locker.acquire('a')).release()
  })

  it('a lock that could not be removed is let go when it is wanted, here or elsewhere', async () => {
    const { place, one, other } = await two()
    for (const next of [one, other]) {
      const lock = await one.locker.acquire('a')
      one.space.meddle(/^remove locks/, unreachable)
      await lock.release()
      const left = await holderAt(place, 'a')
      one.space.leaveAlone()
      const again = await next.locker.acquire('a')
      expect(await holderAt(place, 'a')).not.toEqual(left)
      await again.release()
    }
  })

  it('a lock that could not be removed is let go by clear()', async () => {
    const { place, one, other } = await two()
    const lock = await one.locker.acquire('a')
    one.space.meddle(/^remove locks/, unreachable)
    await lock.release()
    one.space.leaveAlone()
    await other.locker.clear()
    await holderAt(place, 'a')
    await one.locker.clear()
    expect(await findHolder(place, 'a')).toBeUndefined()
    await holderAt(place, 'b')
  })

  it('a lock that could not be removed is free when its node has nothing else to do', async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const lock = await one.locker.acquire('a')
    one.space.meddle(/^remove locks/, unreachable)
    await lock.release()
    const next = await until(() => other.locker.tryAcquire('a'))
    await next?.release()
    await isEmpty(place)
  })

  it('a service that hangs does not hold up a release for ever', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, quick)
    const lock = await locker.acquire('a')
    space.meddle(/^remove locks/, hanging)
    await lock.release()
    await holderAt(place, 'a')
    space.leaveAlone()
    await (await locker.acquire('a')).release()
    expect(await findHolder(place, 'a')).toBeUndefined()
  })

  it.each(['is not answered', 'is answered late'])(
    'a heartbeat that %s is made up for by others',
    async (fault) => {
      const place = await newPlace()
      const [one, other] = [nodeAt(place, quick), nodeAt(place, quick)]
      const lock = await one.locker.acquire('a')
      const { node } = await holderAt(place, 'a')
      const late = withResolvers<void>()
      one.space.meddle(/^put nodes/, async (run, signal) => {
        one.space.leaveAlone()
        if (fault === 'is not answered') return hanging(run, signal)
        const version = await run()
        await late.promise
        return version
      })
      const acquired = vi.fn()
      const waiting = other.locker.acquire('a').then((next) => {
        acquired()
        return next
      })
      const beats = (): number =>
        one.space.requests.filter((request) => request.startsWith('put nodes/')).length
      const inTime = quick.death / quick.beat
      await until(() => beats() > inTime)
      late.resolve()
      await until(() => beats() > 1.5 * inTime)
      expect(acquired).not.toHaveBeenCalled()
      expect((await holderAt(place, 'a')).node).toBe(node)
      expect(await keysAt(place)).toContain(`nodes/${node}`)
      await lock.release()
      await (await waiting).release()
    },
  )

  it('errors of the service are those of acquire(), and nothing is held after them', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, undying)
    for (const request of [/^put nodes/, /^put locks/, /^get locks/]) {
      space.meddle(request, unreachable)
      if (request.test('get locks')) space.meddle(/^put locks/, unreachable)
      await expect(locker.acquire('a')).rejects.toThrow('ECONNREFUSED')
      await expect(locker.tryAcquire('a')).rejects.toThrow('ECONNREFUSED')
      space.leaveAlone()
      await (await locker.acquire('a')).release()
    }
    await isEmpty(place)
  })

  it.each(['get locks', 'get nodes', 'put wants'])('errors end a wait: %s', async (request) => {
    const { one, other, b } = await two()
    other.space.meddle(new RegExp(request), unreachable)
    await expect(other.locker.acquire('b')).rejects.toThrow('ECONNREFUSED')
    other.space.leaveAlone()
    const waiting = other.locker.acquire('b')
    await b.release()
    await (await waiting).release()
    await (await one.locker.acquire('b')).release()
  })

  it('a want that could not be read is read later', async () => {
    const { place, one, other } = await two()
    const onWanted = vi.fn()
    const lock = await one.locker.acquire('a', { onWanted })
    one.space.meddle(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await until(async () => (await kindsAt(place)).includes('wants'))
    const lists = (): number => one.space.requests.filter((request) => request.startsWith('list')).length
    const before = lists()
    await until(() => lists() > before + 2)
    expect(onWanted).not.toHaveBeenCalled()
    one.space.leaveAlone()
    await until(() => onWanted.mock.calls.length > 0)
    await lock.release()
    await (await waiting).release()
  })
})
