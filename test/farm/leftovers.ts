/** What nodes leave in an object service. */
import { expect, onTestFinished, vi } from 'vitest'
import { bitsUpload } from '../../lib/index.ts'
import type { Place } from '../support/places.ts'

const isInternal = (key: string): boolean => key.includes('.bits-sessions/')

/**
 * What is left of all uploads, except for what a sweep keeps for a day: claims, and records of ended sessions with a multipart
 * upload whose id is unknown.
 */
async function leftovers(place: Place): Promise<string[]> {
  const left: string[] = []
  const uploads = new Set<string>()
  for (const key of (await place.keys()).filter(isInternal)) {
    const record = key.includes('/records/') && String((await place.see(key))?.bytes)
    const isKept = record && /"removed":true/.test(record) && /"(starting|strays)":true/.test(record)
    if (isKept) uploads.add(/"name":"([^"]*)"/.exec(record)?.[1] ?? '')
    else if (!key.includes('/claims/')) left.push(key)
  }
  return [...left, ...(await place.unfinished()).filter((key) => !uploads.has(key))]
}

/** Sweeps as a node does, with all sessions expired, until nothing is left, today and two days later. */
export async function expectNothingLeft(place: Place): Promise<void> {
  const sweeper = bitsUpload({ store: place.store(), expireAfter: 1, sweepEvery: 0 })
  onTestFinished(() => sweeper.close())
  const sweep = async (): Promise<string[]> => {
    await sweeper.sweep()
    return leftovers(place)
  }
  await expect.poll(sweep, { timeout: 60_000, interval: 1000 }).toEqual([])
  const { now } = Date
  const shift = 2 * 86_400_000
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + shift)
  place.setClockShift(shift)
  await sweeper.sweep()
  clock.mockRestore()
  place.setClockShift(0)
  expect([...(await place.keys()).filter(isInternal), ...(await place.unfinished())]).toEqual([])
}
