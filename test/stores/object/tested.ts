import type { Capabilities, StoreFixture } from '../../../lib/testing/index.ts'
import type { Engine, PlaceOptions } from '../../support/places.ts'

/** Names of object services have no folders, and 4 GiB would have to be sent (`test/large` does). */
export const supports: Partial<Capabilities> = {
  folders: false,
  missingFolders: false,
  paths: false,
  bigOffsets: false,
}

/** An empty store on a new bucket or container of the service. */
export async function tested(engine: Engine, options: PlaceOptions = {}): Promise<StoreFixture> {
  const { prefix = '' } = options
  const place = await engine.open()
  const reopen = () => place.store(options)
  return {
    store: reopen(),
    reopen,
    published: async (name, first) => (await place.see(prefix + name, first))?.bytes,
    async loseBytes({ id }) {
      const uploaded = `${prefix}.bits-sessions/uploads/${id}/bytes/`
      await place.space().remove((await place.keys()).filter((key) => key.startsWith(uploaded)))
    },
  }
}
