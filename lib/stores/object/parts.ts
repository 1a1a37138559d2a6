import type { StoreContext } from './context.ts'
import { partKey, randomId } from './layout.ts'
import type { SessionRecord } from './record.ts'
import type { ObjectAttributes, ServiceOptions } from './service/service.ts'
import type { PartTarget } from './writer.ts'

/** Parts that are objects of their own. */
export const separateParts = ({ service }: Pick<StoreContext, 'service'>, prefix: string): PartTarget => ({
  async put(_number, chunks, options) {
    const name = randomId()
    await service.put(partKey(prefix, name), chunks, options)
    return name
  },
})

/** An upload to a key, which is created when its first part is written. */
export class DirectUpload implements PartTarget {
  readonly #service: StoreContext['service']
  readonly #key: string
  readonly #create: () => Promise<string>
  #creating: Promise<string> | undefined
  #id: string | undefined

  /**
   * @param id of an upload that exists
   * @param create creates an upload, and returns its id
   */
  constructor(
    { service }: Pick<StoreContext, 'service'>,
    key: string,
    { id, create }: { readonly id?: string | undefined; readonly create: () => Promise<string> },
  ) {
    this.#service = service
    this.#key = key
    this.#create = create
    this.#id = id
  }

  /** The id of the upload; undefined before it was created. */
  get id(): string | undefined {
    return this.#id
  }

  /** Creates the upload, unless that was done. */
  async begin(): Promise<string> {
    this.#creating ??= this.#id === undefined ? this.#create() : Promise.resolve(this.#id)
    this.#id = await this.#creating
    return this.#id
  }

  async put(number: number, chunks: readonly Uint8Array[], options: ServiceOptions): Promise<string> {
    return this.#service.putPart(this.#key, { upload: await this.begin(), number }, chunks, options)
  }
}

/**
 * The upload of a session to its final key.
 *
 * A service keeps an upload until it is aborted. So the record says first that an upload may exist. A node that finds this, but
 * no id, notes that there may be one that is in no record.
 * @param attributes of the published object
 */
export function sessionUpload(
  { service }: Pick<StoreContext, 'service'>,
  record: SessionRecord,
  id: string | undefined,
  attributes: ObjectAttributes,
  options: ServiceOptions,
): DirectUpload {
  const { name } = record.state.session
  const create = async (): Promise<string> => {
    if (!service.keepsUploads) return (await service.createUpload(name, options)).id
    const { starting, strays } = record.state
    await record.update({ starting: true, strays: starting ?? strays })
    const created = await service.createUpload(name, { attributes, ...options })
    // The caller records the id after this, so that no write of the record drops the mark.
    if (created.isRepeated) await record.update({ strays: true })
    return created.id
  }
  return new DirectUpload({ service }, name, { id, create })
}
