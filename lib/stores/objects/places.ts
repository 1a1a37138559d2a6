import { randomBytes } from 'node:crypto'
import { Ours } from '../../objects/ours.ts'

export const recordPlaces = `${Ours}records/`
export const recordPlace = (id: string): string => `${recordPlaces}${id}`

/** All that a session has but its record, below a folder of its own. */
export const uploadPlaces = `${Ours}uploads/`
export const uploadPlace = (id: string): string => `${uploadPlaces}${id}/`
export const bytesPlace = (id: string): string => `${uploadPlace(id)}bytes/`
export const replyPlace = (id: string, name: string): string => `${uploadPlace(id)}reply-${name}`

/** A name, or part of one, that was never used and never will be. */
export const unique = (): string => randomBytes(12).toString('base64url')
