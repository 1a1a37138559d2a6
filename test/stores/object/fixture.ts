import type { LeaseTimes } from '../../../lib/stores/object/context.ts'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { Session, Store } from '../../../lib/stores/store.ts'
import type { Capabilities, StoreFixture } from '../../../lib/testing/index.ts'
import type { Engine, Place, PlaceOptions } from '../../support/places.ts'

export const MiB = 2 ** 20

/** Object services have no folders, and a test over 4 GiB would have to send them (`test/large` does). */
export const capabilities: Partial<Capabilities> = {
  folders: false,
  locker: false,
  missingFolders: false,
  paths: false,
  bigOffsets: false,
}

/** An empty store on a new bucket or container of the service. */
export async function objectStoreFixture(engine: Engine, options: PlaceOptions = {}): Promise<StoreFixture> {
  const { prefix = '' } = options
  const place = await engine.open()
  const reopen = () => place.store(options)
  return {
    store: reopen(),
    reopen,
    published: async (name, first) => (await place.see(prefix + name, first))?.bytes,
    async loseBytes({ id }) {
      const bytes = `${prefix}.bits-sessions/uploads/${id}/bytes/`
      await place.service().remove((await place.keys()).filter((key) => key.startsWith(bytes)))
    },
  }
}

/** So that a test need not wait for seconds until a lease, or a node, is regarded as dead. */
export const shortTimes: LeaseTimes = { renew: 4, dead: 25, poll: 1 }

/** A store over a service whose behaviour a test has changed. */
export const storeOn = (
  service: ObjectService,
  partSize = 5 * MiB,
  memory = 256 * MiB,
  leaseTimes?: LeaseTimes,
): Store =>
  new ObjectStore({ service, partSize, memory, maxNameBytes: 1024, ...(leaseTimes && { leaseTimes }) })

/** All bytes of an upload. */
export async function readAll(store: Store, session: Session): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of store.read(session)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The keys of all objects of sessions, without claims. */
export const sessionKeys = async (place: Place): Promise<string[]> =>
  (await place.keys()).filter((key) => /\.bits-sessions\/(records|uploads)\//.test(key))
