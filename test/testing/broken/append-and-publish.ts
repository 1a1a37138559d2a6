import { type Broken, inMemory, inSharedMemory } from './kit.ts'

const section = 'append() with publish: true'

export const publishingAppends: Broken[] = [
  inMemory(
    'append() publishes an incomplete file',
    `${section} > publishes nothing before all bytes are held`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        if (options.publish) await good.publish(appended)
        return appended
      },
    }),
  ),
  inMemory(
    'append() replaces the file of another session',
    `${section} > rejects with destination-exists, as publish() does, if the name was taken meanwhile`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        if (!options.publish) return appended
        good.files.delete(session.name)
        await good.publish(appended)
        return { ...appended, state: 'published' }
      },
    }),
  ),
  inMemory(
    'append() publishes, and returns the state receiving',
    `${section} > publishes the complete file, or ignores the option`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        if (options.publish) await good.publish(appended)
        return appended
      },
    }),
  ),
  inMemory(
    'append() returns the state published before there is a file',
    `${section} > publishes an empty file`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        return options.publish ? { ...appended, state: 'published' } : appended
      },
    }),
  ),
  inMemory(
    'append() does not publish bytes that an earlier call has appended',
    `${section} > publishes a file whose bytes are all held`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        return options.publish && appended.received > session.received
          ? appended
          : { ...appended, state: options.publish ? 'published' : appended.state }
      },
    }),
  ),
  inSharedMemory(
    'the session that a publishing append() returns cannot be removed',
    `${section} > accepts the sessions that create() and append() return, without load()`,
    (good) => ({
      async append(session, body, options) {
        const appended = await good.append(session, body, options)
        return options.publish ? { ...appended, stamp: { version: 0 } } : appended
      },
    }),
  ),
  inSharedMemory(
    'the bytes of a session created with mayReadBytes cannot be read',
    `${section} > is not needed by a session whose bytes may be read`,
    (good) => {
      const ids = new Set<string>()
      return {
        async create(session, options) {
          if (options?.mayReadBytes) ids.add(session.id)
          return good.create(session, options)
        },
        read(session) {
          if (ids.has(session.id)) throw new Error('The bytes are in parts')
          return good.read(session)
        },
      }
    },
  ),
]
